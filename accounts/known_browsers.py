"""Browsers where a user has signed in before: a cookie by which strangers cannot lock the user out there."""

import secrets
from contextlib import suppress

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.core import signing
from django.http import HttpRequest, HttpResponse

from accounts.guess_limits import username_digests

# Of so many users a browser is known, so that its cookies fit into a request (gunicorn takes 8 kB of them).
KNOWN_USERS_PER_BROWSER = 10


def _signer(user: AbstractBaseUser) -> signing.TimestampSigner:
    """Good for one user with one password; it signs nobody in."""
    return signing.TimestampSigner(salt=f"accounts.device {user.pk} {user.password}")


def _cookie_names(user: AbstractBaseUser) -> list[str]:
    """One for each user of this browser; the first is the one to set, the others are of other secret keys."""
    return [f"{settings.DEVICE_COOKIE_NAME}-{name.hex[:12]}" for name in username_digests(user.get_username())]


def _device_cookies(request: HttpRequest) -> list[str]:
    return [name for name in request.COOKIES if name.startswith(f"{settings.DEVICE_COOKIE_NAME}-")]


def may_be_known(request: HttpRequest | None) -> bool:
    """Whether the browser may be one where its user is known; known_browser_id() says so. No statement."""
    return request is not None and bool(_device_cookies(request))


def known_browser_id(request: HttpRequest, user: AbstractBaseUser) -> str | None:
    """Which of the browsers where this user is known it is that asks; None elsewhere."""
    cookies = [request.COOKIES[name] for name in _cookie_names(user) if name in request.COOKIES]
    for cookie in cookies:
        with suppress(signing.BadSignature):
            return _signer(user).unsign(cookie, max_age=settings.DEVICE_COOKIE_AGE)
    return None


def mark_known(request: HttpRequest, user: AbstractBaseUser) -> None:
    """The browser that asks is one of this user's from now on: see TooManyAttemptsMiddleware."""
    request.known_user = user  # type: ignore[attr-defined]


def set_cookie(request: HttpRequest, response: HttpResponse, user: AbstractBaseUser) -> None:
    own, *former = _cookie_names(user)
    others = [name for name in _device_cookies(request) if name not in (own, *former)]
    others.sort(key=lambda name: _said_to_be_signed_at(request.COOKIES[name]), reverse=True)
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


def _said_to_be_signed_at(cookie: str) -> int:
    """The time in it, which is not verified: its own browser alone loses by a wrong one."""
    try:
        return signing.b62_decode(cookie.split(":")[1])
    except (IndexError, ValueError, KeyError):
        return 0
