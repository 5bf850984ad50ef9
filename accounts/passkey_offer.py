"""The offer to add a passkey: a cookie opens it after a sign-in by password, and stores that the user declined it."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse

OPEN, DECLINED = "show-offer", "declined-offer"


def is_open(request: HttpRequest) -> bool:
    """Returns whether the home page offers to add a passkey. No statement: the session's data is not read."""
    return request.COOKIES.get(settings.PASSKEY_OFFER_COOKIE_NAME) == OPEN


def open_unless_declined(request: HttpRequest, response: HttpResponse) -> None:
    """Opens the offer until the browser is closed, unless a user has declined it in this browser."""
    if request.COOKIES.get(settings.PASSKEY_OFFER_COOKIE_NAME) != DECLINED:
        _set_cookie(response, OPEN, max_age=None)


def close(request: HttpRequest, response: HttpResponse) -> None:
    """Closes the offer: the user of this browser has a passkey, or can have none."""
    if is_open(request):
        response.delete_cookie(settings.PASSKEY_OFFER_COOKIE_NAME, samesite="Lax")


def decline(response: HttpResponse) -> None:
    """Stores for a year that the offer was declined in this browser."""
    _set_cookie(response, DECLINED, max_age=settings.PASSKEY_OFFER_COOKIE_AGE)


def _set_cookie(response: HttpResponse, value: str, max_age: int | None) -> None:
    response.set_cookie(
        settings.PASSKEY_OFFER_COOKIE_NAME,
        value,
        max_age=max_age,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
