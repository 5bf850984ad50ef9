"""What templates of all pages need: the brand, the theme, the URL of the site, and the links of the footer."""

from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest

from accounts.http import request_context
from project.theme import theme_of

# Pictures of this project's brand are made for this logo.
DEFAULT_LOGO = "accounts/favicon.svg"


def site(request: HttpRequest) -> dict[str, Any]:
    """A context processor. `origin` is the URL of the site without a final slash, or "" if it is not known."""
    return brand() | links() | {"theme": theme_of(request), "origin": _origin()}


def _origin() -> str:
    try:
        return request_context.site()
    except DisallowedHost:
        # The error page for the host that was refused.
        return ""


def brand() -> dict[str, Any]:
    """The name of the site, its own files, and whether the demo is installed."""
    is_own = settings.BRAND_LOGO != DEFAULT_LOGO
    return {
        "site_name": settings.SITE_NAME,
        "brand_css": settings.BRAND_CSS,
        "brand_logo": settings.BRAND_LOGO,
        "has_own_logo": is_own,
        "demo": settings.DEMO,
    }


def links() -> dict[str, str]:
    """The links of the footer that settings name; empty ones are left out."""
    return {"source_url": settings.SOURCE_URL, "security_contact": settings.SECURITY_CONTACT}
