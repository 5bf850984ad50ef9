from project.environment import set_defaults

# In place of the defaults of .env.example. The environment and a .env file have precedence.
set_defaults(SITE_NAME="Acme notes", DEMO="false", JWT_ISSUER="https://notes.example.com")

from project.settings import *

BRAND_LOGO, BRAND_CSS, BRAND_COLORS = "product/logo.svg", "product/brand.css", ("#6b21a8", "#d8b4fe")
PROFILE_MODEL = "product.Profile"
INSTALLED_APPS = ["product", *INSTALLED_APPS]
ROOT_URLCONF = "product.urls"
# Templates here replace templates of the same name, and translations here texts of the project.
TEMPLATES[0]["DIRS"].insert(0, BASE_DIR / "product" / "templates")
LOCALE_PATHS.insert(0, BASE_DIR / "product" / "locale")
