"""The bound cookie: short-lived, signed by the server, and checked in memory."""

import time
from functools import lru_cache
from typing import Literal
from uuid import UUID

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.http import HttpResponse

# As the session cookie.
SAME_SITE: Literal["Lax"] = "Lax"
MAX_COOKIE_LENGTH = 100
MAX_CACHED_COOKIES = 10_000
# For how long the server accepts the cookie after the browser has dropped it, as a share of the term: for requests that
# were sent before, and for clocks that differ.
GRACE_SHARE = 0.1


def attributes() -> str:
    """The attributes of the cookie, as DBSC's instructions name them."""
    secure = " Secure;" if settings.SESSION_COOKIE_SECURE else ""
    return f"Path=/;{secure} HttpOnly; SameSite={SAME_SITE}"


def set_on(response: HttpResponse, sid: UUID, key_thumbprint: str) -> None:
    """Sets the cookie of a device that has just proved its key."""
    issued_at = f"{time.time():.3f}"
    text = f"{issued_at}:{_signer().signature(_content(sid, key_thumbprint, issued_at))}"
    response.set_cookie(
        settings.BOUND_COOKIE_NAME,
        text,
        max_age=int(settings.DBSC_TERM.total_seconds()),
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite=SAME_SITE,
    )


def delete_from(response: HttpResponse) -> None:
    """Deletes the cookie: the browser then proves its key before its next request."""
    response.delete_cookie(settings.BOUND_COOKIE_NAME, samesite=SAME_SITE)


def proved_at(cookie: str, sid: UUID, key_thumbprint: str) -> float | None:
    """
    When the device proved its key, in seconds since 1970; None if the cookie is not of this sign-in and key, or is too
    old. No statement.
    """
    if not 0 < len(cookie) <= MAX_COOKIE_LENGTH:
        return None
    issued_at = _issued_at(cookie, sid, key_thumbprint)
    accepted_for = settings.DBSC_TERM.total_seconds() * (1 + GRACE_SHARE)
    return issued_at if issued_at is not None and time.time() - issued_at < accepted_for else None


@lru_cache(maxsize=MAX_CACHED_COOKIES)
def _issued_at(cookie: str, sid: UUID, key_thumbprint: str) -> float | None:
    """The time in the cookie; None if the signature is not ours. Cached: a browser sends the cookie for minutes."""
    issued_at, _colon, signature = cookie.partition(":")
    try:
        _signer().unsign(f"{_content(sid, key_thumbprint, issued_at)}:{signature}")
        return float(issued_at)
    except (BadSignature, ValueError):
        return None


def _content(sid: UUID, key_thumbprint: str, issued_at: str) -> str:
    return f"{sid} {key_thumbprint} {issued_at}"


def _signer() -> Signer:
    return Signer(salt="api.dbsc.cookies")
