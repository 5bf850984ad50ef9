"""Known browsers: a cookie marks a browser where a user signed in before, so that strangers cannot lock it out."""

import secrets
from contextlib import suppress

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.core import signing
from django.http import HttpRequest, HttpResponse

from accounts.guess_limits import username_digests

# One cookie for each user. All of them must fit into a request header (gunicorn accepts 8 kB).
KNOWN_USERS_PER_BROWSER = 10


def _signer(user: AbstractBaseUser) -> signing.TimestampSigner:
    """Returns the signer of this user's cookies. They become invalid with a new password, and never sign a user in."""
    return signing.TimestampSigner(salt=f"accounts.device {user.pk} {user.password}")


def _cookie_names(user: AbstractBaseUser) -> list[str]:
    """Returns the names of the user's cookie: by SECRET_KEY, which is the one to set, and by each fallback key."""
    return [f"{settings.DEVICE_COOKIE_NAME}-{name.hex[:12]}" for name in username_digests(user.get_username())]


def _device_cookies(request: HttpRequest) -> list[str]:
    return [name for name in request.COOKIES if name.startswith(f"{settings.DEVICE_COOKIE_NAME}-")]


def may_be_known(request: HttpRequest | None) -> bool:
    """Returns whether the request has a device cookie of any user; known_browser_id() verifies it. No statement."""
    return request is not None and bool(_device_cookies(request))


def known_browser_id(request: HttpRequest, user: AbstractBaseUser) -> str | None:
    """Returns the id of this browser if the user is known in it, or None."""
    cookies = [request.COOKIES[name] for name in _cookie_names(user) if name in request.COOKIES]
    for cookie in cookies:
        with suppress(signing.BadSignature):
            return _signer(user).unsign(cookie, max_age=settings.DEVICE_COOKIE_AGE)
    return None


def mark_known(request: HttpRequest, user: AbstractBaseUser) -> None:
    """Marks this browser as known to the user. TooManyAttemptsMiddleware sets the cookie in the response."""
    request.known_user = user  # type: ignore[attr-defined]


def set_cookie(request: HttpRequest, response: HttpResponse, user: AbstractBaseUser) -> None:
    """Sets the user's cookie, and deletes the oldest cookies beyond KNOWN_USERS_PER_BROWSER."""
    own, *former = _cookie_names(user)
    others = [name for name in _device_cookies(request) if name not in (own, *former)]
    others.sort(key=lambda name: _claimed_signing_time(request.COOKIES[name]), reverse=True)
    for name in others[KNOWN_USERS_PER_BROWSER - 1 :]:
        response.delete_cookie(name, samesite="Lax")
    response.set_cookie(
        own,
        _signer(user).sign(secrets.token_urlsafe(12)),
        max_age=settings.DEVICE_COOKIE_AGE,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _claimed_signing_time(cookie: str) -> int:
    """Returns the time in the cookie. It is not verified, since a wrong one affects the browser that sends it only."""
    try:
        return signing.b62_decode(cookie.split(":")[1])
    except (IndexError, ValueError, KeyError):
        return 0
