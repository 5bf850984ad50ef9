"""How many wrong guesses whom and what: whose guesses count together, and how long the next one has to wait."""

import secrets
import unicodedata
from contextlib import suppress
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

if TYPE_CHECKING:
    from accounts.models import User

FIRST_WAIT = timedelta(seconds=1)
# RFC 4291, section 2.5.4: whoever has one IPv6 address has 64 bits of them.
IPV6_NETWORK_BITS = 64


class Kind(models.TextChoices):
    PAIR = "pair", _("an account, from one address")
    ACCOUNT = "account", _("an account, from anywhere")
    ADDRESS = "address", _("an address, at any account")
    DEVICE = "device", _("an account, from a browser where its owner is known")
    INSIDE = "inside", _("an account, from inside: its owner is signed in")
    RESET = "reset", _("password reset mails to an address")
    RESETTING = "resetting", _("password resets asked from an address")
    SIGN_UP = "sign_up", _("accounts made from an address")
    CONFIRM = "confirm", _("confirmation mails to an address")
    CONFIRMING = "confirming", _("confirmation mails asked for by an account")


class Limit(NamedTuple):
    """So many are free; then each has to wait twice as long as the one before; after `most`, there is a long rest."""

    free: int
    longest_wait: timedelta
    most: int
    # How long after the first the count starts anew; and the rest.
    memory: timedelta

    def wait(self, count: int) -> timedelta:
        """After so many."""
        if count < self.free:
            return timedelta(0)
        if count >= self.most:
            return self.memory
        # Not 2**count: nobody waits longer than some 2**20 seconds.
        return min(FIRST_WAIT * 2 ** min(count - self.free, 20), self.longest_wait)


LIMITS = {
    Kind.PAIR: Limit(5, timedelta(hours=1), 30, timedelta(hours=12)),
    # Strangers, all together. NIST SP 800-63B-4, section 3.2.2, allows 100 in a row.
    Kind.ACCOUNT: Limit(20, timedelta(minutes=15), 50, timedelta(hours=12)),
    # An office shares one: its people mistype all day, and nobody's success says anything of the others.
    Kind.ADDRESS: Limit(100, timedelta(minutes=15), 150, timedelta(hours=1)),
    # Nobody but the owner has the cookie, or is signed in; unless it was stolen.
    Kind.DEVICE: Limit(5, timedelta(hours=1), 30, timedelta(hours=12)),
    Kind.INSIDE: Limit(5, timedelta(hours=1), 30, timedelta(hours=12)),
    Kind.RESET: Limit(3, timedelta(hours=1), 3, timedelta(hours=1)),
    Kind.RESETTING: Limit(30, timedelta(hours=1), 30, timedelta(hours=1)),
    Kind.SIGN_UP: Limit(60, timedelta(hours=1), 60, timedelta(hours=1)),
    # The one at signing up is among them.
    Kind.CONFIRM: Limit(3, timedelta(hours=1), 3, timedelta(hours=1)),
    # Whoever mistypes an address tries another one.
    Kind.CONFIRMING: Limit(6, timedelta(hours=1), 6, timedelta(hours=1)),
}


class Locked(ValidationError):
    """Too many: the next one is not heard before a moment, right or wrong."""

    def __init__(self, until: datetime) -> None:
        self.seconds = max(1, ceil((until - timezone.now()).total_seconds()))
        super().__init__(
            _("Too many tries. Try again in %(wait)s."), code="throttled", params={"wait": _in_words(self.seconds)}
        )


def _in_words(seconds: int) -> str:
    if seconds < 120:
        return ngettext("%d second", "%d seconds", seconds) % seconds
    minutes = ceil(seconds / 60)
    if minutes < 120:
        return ngettext("%d minute", "%d minutes", minutes) % minutes
    hours = ceil(minutes / 60)
    return ngettext("%d hour", "%d hours", hours) % hours


# Whose guesses count together


class Source(NamedTuple):
    """What counts together. Names and cookies stay out of the database: people type passwords into any field."""

    kind: Kind
    key: UUID
    account: UUID | None = None
    ip_address: str | None = None


def digest(*parts: object, secret: str | None = None) -> UUID:
    """Keyed, so that nobody tries out names or passwords on a dump. `secret`: another key than SECRET_KEY."""
    text = "\0".join(map(str, parts))
    return UUID(bytes=salted_hmac("accounts.locks", text, secret=secret, algorithm="sha256").digest()[:16])


def account(username: str, secret: str | None = None) -> UUID:
    """As typed, whether or not there is such an account."""
    return digest("account", unicodedata.normalize("NFKC", username).casefold(), secret=secret)


def accounts(username: str) -> list[UUID]:
    """By SECRET_KEY and by each of its fallbacks: other nodes may be at another step of a change of the key."""
    return [account(username, secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]


def network(address: str) -> str:
    """An address, or the first one of its /64 network."""
    if isinstance(ip_address(address), IPv6Address):
        return str(ip_network((address, IPV6_NETWORK_BITS), strict=False).network_address)
    return address


def strangers(username: str, address: str | None) -> list[Source]:
    """
    Of somebody who gives that name and is not known here. Without an address (a server on a Unix socket behind no
    trusted proxy) all clients look the same, so that a count of them would lock out everybody.
    """
    name = account(username)
    anywhere = Source(Kind.ACCOUNT, digest(Kind.ACCOUNT, name), name)
    if address is None:
        return [anywhere]
    block = network(address)
    return [anywhere, Source(Kind.PAIR, digest(Kind.PAIR, name, block), name, block), *_at(Kind.ADDRESS, address)]


def known_browser(user: "User", device: str) -> list[Source]:
    """Of a browser where the user was signed in before: apart from strangers, who cannot lock it out."""
    return [Source(Kind.DEVICE, digest(Kind.DEVICE, user.pk, device), account(user.username))]


def inside(user: "User") -> list[Source]:
    return [Source(Kind.INSIDE, digest(Kind.INSIDE, user.pk), account(user.username))]


def reset_mails(email: str, address: str | None) -> list[Source]:
    return [Source(Kind.RESET, digest(Kind.RESET, email.casefold())), *_at(Kind.RESETTING, address)]


def confirmation_mails(user: "User", email: str) -> list[Source]:
    return [
        Source(Kind.CONFIRM, digest(Kind.CONFIRM, email.casefold())),
        Source(Kind.CONFIRMING, digest(Kind.CONFIRMING, user.pk)),
    ]


def sign_ups(address: str | None) -> list[Source]:
    return _at(Kind.SIGN_UP, address)


def _at(kind: Kind, address: str | None) -> list[Source]:
    if address is None:
        return []
    block = network(address)
    return [Source(kind, digest(kind, block), None, block)]


# Where somebody is known


def _signer(user: "User") -> signing.TimestampSigner:
    """Good for one user with one password; it signs nobody in."""
    return signing.TimestampSigner(salt=f"accounts.device {user.pk} {user.password}")


def _cookie_names(user: "User") -> list[str]:
    """One for each user of this browser; the first is the one to set, the others are of other secret keys."""
    return [f"{settings.DEVICE_COOKIE_NAME}-{name.hex[:12]}" for name in accounts(user.username)]


def device(request: HttpRequest, user: "User") -> str | None:
    """Which of the browsers where this user is known it is that asks; None elsewhere."""
    cookies = [request.COOKIES[name] for name in _cookie_names(user) if name in request.COOKIES]
    for cookie in cookies:
        with suppress(signing.BadSignature):
            return _signer(user).unsign(cookie, max_age=settings.DEVICE_COOKIE_AGE)
    return None


def remember(request: HttpRequest, user: "User") -> None:
    """The browser that asks is one of this user's from now on: see LockMiddleware."""
    request.known_user = user  # type: ignore[attr-defined]


def set_cookie(response: HttpResponse, user: "User") -> None:
    response.set_cookie(
        _cookie_names(user)[0],
        _signer(user).sign(secrets.token_urlsafe(12)),
        max_age=settings.DEVICE_COOKIE_AGE,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
