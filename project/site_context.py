"""What templates of all pages need: the theme, the URL of the site, and the links of the footer."""

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest

from accounts.http import request_context
from project.theme import theme_of


def site(request: HttpRequest) -> dict[str, str]:
    """A context processor. `origin` is the URL of the site without a final slash, or "" if it is not known."""
    return links() | {"theme": theme_of(request), "origin": _origin()}


def _origin() -> str:
    try:
        return request_context.site()
    except DisallowedHost:
        # The error page for the host that was refused.
        return ""


def links() -> dict[str, str]:
    """The links of the footer that settings name; empty ones are left out."""
    return {"source_url": settings.SOURCE_URL, "security_contact": settings.SECURITY_CONTACT}
