"""How the parts are put together and operated."""

from pathlib import Path

# The settings of the product, in a folder that updates never touch (PRODUCT.md); without one, ours.
PRODUCT_SETTINGS = "product.settings"
_has_product = (Path(__file__).parent.parent / "product" / "settings.py").exists()
DEFAULT_SETTINGS = PRODUCT_SETTINGS if _has_product else "project.settings"
