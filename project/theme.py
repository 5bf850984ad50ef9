"""The theme of the pages: light, dark, or that of the system. A cookie keeps the choice, so pages need no script."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse

# The theme of the system is the one without a cookie.
SYSTEM = "system"
CHOSEN = ("light", "dark")
THEMES = (SYSTEM, *CHOSEN)


def theme_of(request: HttpRequest) -> str:
    """Returns "light", "dark" or, for the theme of the system and for any other value of the cookie, ""."""
    value = request.COOKIES.get(settings.THEME_COOKIE_NAME, "")
    return value if value in CHOSEN else ""


def remember(response: HttpResponse, theme: str) -> None:
    """Sets the cookie to one of THEMES."""
    if theme == SYSTEM:
        response.delete_cookie(settings.THEME_COOKIE_NAME, samesite="Lax")
        return
    response.set_cookie(
        settings.THEME_COOKIE_NAME,
        theme,
        max_age=settings.THEME_COOKIE_AGE,
        secure=settings.THEME_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
