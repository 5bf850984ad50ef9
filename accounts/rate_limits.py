"""Rate limits of password guesses, mails and sign-ups: the limits, the sources that are counted, cached refusals."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from math import ceil
from typing import Any, NamedTuple, Self
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import addresses

FIRST_WAIT = timedelta(seconds=1)
SECONDS_OF_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# All clients without an address share one counter. Its limit is this many times that of one address.
CLIENTS_IN_CROWD = 20
# How long a process refuses by its cache before it reads the counter again.
REFUSAL_CACHE_AGE = timedelta(seconds=1)
MAX_CACHED_REFUSALS = 10_000


class Kind(models.TextChoices):
    """Kinds of counters: by what attempts count together."""

    PAIR = "pair", _("password attempts: one account, one IP address")
    ACCOUNT = "account", _("password attempts: one account, all IP addresses")
    ADDRESS = "address", _("password attempts: one IP address, all accounts")
    DEVICE = "device", _("password attempts: one account, a known browser")
    INSIDE = "inside", _("password attempts: one account, while signed in")
    CODE = "code", _("codes of a second factor: one account")
    RESET = "reset", _("password reset e-mails to one e-mail address")
    RESETTING = "resetting", _("password resets requested from one IP address")
    SIGN_UP = "sign_up", _("usernames and e-mail addresses checked from one IP address")
    CONFIRM = "confirm", _("confirmation e-mails to one e-mail address")
    CONFIRMING = "confirming", _("confirmation e-mails requested by one account")
    CHANGING = "changing", _("e-mail address changes requested by one account")
    NOTICE = "notice", _("notices to one e-mail address")
    NOTIFYING = "notifying", _("notices about one account")
    URGENT = "urgent", _("urgent notices of one type, in addition to other notices")
    SUMMARY = "summary", _("summaries that replace notices")
    PAUSE = "pause", _("notices that sign-in to one account is paused")
    USER_CODE = "user_code", _("codes of devices entered by one account")


def kinds() -> list[tuple[str, Any]]:
    """Returns the choices of AttemptCounter.kind. A callable, so that a new kind needs no migration."""
    return Kind.choices


class Limit(NamedTuple):
    """
    Limit of one counter. `free_attempts` need not wait. Then the wait doubles with each attempt, from FIRST_WAIT up to
    `longest_wait`. After `max_attempts`, the next attempt waits for `window`.
    """

    free_attempts: int
    longest_wait: timedelta
    max_attempts: int
    # The count starts again this long after its first attempt.
    window: timedelta

    def wait(self, count: int) -> timedelta:
        """Returns how long the next attempt has to wait after `count` attempts."""
        if count < self.free_attempts:
            return timedelta(0)
        if count >= self.max_attempts:
            return self.window
        # The exponent is bounded, since 2**count seconds would overflow a timedelta.
        return min(FIRST_WAIT * 2 ** min(count - self.free_attempts, 20), self.longest_wait)

    def for_crowd(self) -> Self:
        """Returns the limit of the counter that all clients without an address share."""
        return self._replace(
            free_attempts=self.free_attempts * CLIENTS_IN_CROWD, max_attempts=self.max_attempts * CLIENTS_IN_CROWD
        )


def _quota(rate: str) -> Limit:
    """Returns the limit of a rate such as 60/hour: no wait within the quota, then until the time is over."""
    number, _slash, unit = rate.partition("/")
    window = timedelta(seconds=SECONDS_OF_UNIT[unit[0]])
    return Limit(int(number), window, int(number), window)


# Limits of password guesses.
GUESS_LIMITS = {
    Kind.PAIR: Limit(5, timedelta(hours=1), 30, timedelta(hours=12)),
    # Guesses from all addresses together. NIST SP 800-63B-4, section 3.2.2, allows 100 in a row.
    Kind.ACCOUNT: Limit(20, timedelta(minutes=15), 50, timedelta(hours=12)),
    # The people of an office share one address. The success of one user does not reset it for the others.
    Kind.ADDRESS: Limit(100, timedelta(minutes=15), 150, timedelta(hours=1)),
    # Only the owner has the cookie or is signed in, unless it was stolen.
    Kind.DEVICE: Limit(5, timedelta(hours=1), 30, timedelta(hours=12)),
    Kind.INSIDE: Limit(5, timedelta(hours=1), 30, timedelta(hours=12)),
    # Only clients that know the password, or are signed in, can send a code.
    Kind.CODE: Limit(5, timedelta(hours=1), 30, timedelta(hours=12)),
}
# Quotas of mails and sign-ups.
QUOTAS = {
    Kind.RESET: _quota("3/hour"),
    Kind.RESETTING: _quota("30/hour"),
    # Sign-ups and changes of address. Never without a limit: each answer reveals whether a name or address is taken.
    Kind.SIGN_UP: _quota(settings.ACCOUNT_RATE or "60/hour"),
    # The confirmation mail of the sign-up is one of them.
    Kind.CONFIRM: _quota("3/hour"),
    # A user who mistyped an address enters another one.
    Kind.CONFIRMING: _quota("6/hour"),
    Kind.CHANGING: _quota("10/hour"),
    Kind.NOTICE: _quota("10/hour"),
    Kind.NOTIFYING: _quota("10/hour"),
    Kind.URGENT: _quota("1/hour"),
    Kind.SUMMARY: _quota("1/hour"),
    Kind.PAUSE: _quota("1/day"),
    # To allow a device takes two. At 6,000 waiting devices, a guess is right once in four million.
    Kind.USER_CODE: _quota("20/hour"),
}
LIMITS = GUESS_LIMITS | QUOTAS
# Kinds that identify a client by its address alone.
BY_ADDRESS = frozenset({Kind.ADDRESS, Kind.RESETTING, Kind.SIGN_UP})
# Kinds of password guesses at one account by strangers, which do not lock out the user's known browsers.
BY_STRANGERS = frozenset({Kind.PAIR, Kind.ACCOUNT})
PASSWORDS_OF_ACCOUNT = BY_STRANGERS | {Kind.DEVICE, Kind.INSIDE}


class TooManyAttempts(ValidationError):
    """A limit is reached: the next attempt is refused for `seconds`, whether or not its password is right."""

    def __init__(self, until: datetime, by_strangers: bool = False) -> None:
        """`by_strangers`: the only limit that was reached is that of guesses from all addresses together."""
        self.by_strangers = by_strangers
        self.seconds = max(1, ceil((until - timezone.now()).total_seconds()))
        super().__init__(
            _("Too many attempts. Try again in %(wait)s."), code="throttled", params={"wait": _in_words(self.seconds)}
        )


def _in_words(seconds: int) -> str:
    if seconds < 120:
        return ngettext("%d second", "%d seconds", seconds) % seconds
    minutes = ceil(seconds / 60)
    if minutes < 120:
        return ngettext("%d minute", "%d minutes", minutes) % minutes
    hours = ceil(minutes / 60)
    return ngettext("%d hour", "%d hours", hours) % hours


def limit_of(kind: Kind, address: str | None) -> Limit:
    """Returns the limit of a counter of this kind, for clients at this address."""
    limit = LIMITS[kind]
    return limit.for_crowd() if address is None and kind in BY_ADDRESS else limit


# Sources of attempts


class Source(NamedTuple):
    """
    The key of a counter: attempts from one source count together. It has digests of names and cookies, not the texts,
    since users type passwords into any field.
    """

    kind: Kind
    key: UUID
    account: UUID | None = None
    ip_address: str | None = None


def digest(*parts: object, secret: str | None = None) -> UUID:
    """
    Returns a keyed digest, so that a dump of the database does not allow to test names or passwords. `secret` replaces
    SECRET_KEY as the key.
    """
    text = "\0".join(map(str, parts))
    return UUID(bytes=salted_hmac("accounts.locks", text, secret=secret, algorithm="sha256").digest()[:16])


def of_address(kind: Kind, address: str | None) -> list[Source]:
    """
    Returns the source for an address, or its /64 network. Clients without an address (a Unix socket, a proxy that sends
    none) cannot be distinguished and share one counter, whose limit is higher (CLIENTS_IN_CROWD).
    """
    if address is None:
        return [Source(kind, digest(kind, "no address"))]
    block = addresses.network(address)
    return [Source(kind, digest(kind, block), None, block)]


# Cached refusals


class RecentRefusals:
    """
    Cache of the sources that this process has just refused. It refuses them again without a statement, so that a flood
    of guesses is cheap. A counter that another process resets takes effect here after REFUSAL_CACHE_AGE.
    """

    def __init__(self) -> None:
        self._until: dict[UUID, tuple[datetime, datetime]] = {}

    def check(self, sources: Iterable[Source]) -> None:
        """Raises TooManyAttempts if a cached refusal of one of the sources is still valid."""
        now = timezone.now()
        waits = {source.kind: until for source in sources if (until := self._cached(source.key, now))}
        if waits:
            raise TooManyAttempts(max(waits.values()), by_strangers=waits.keys() == {Kind.ACCOUNT})

    def _cached(self, key: UUID, now: datetime) -> datetime | None:
        until, cached_at = self._until.get(key, (now, now))
        return until if cached_at <= now < min(until, cached_at + REFUSAL_CACHE_AGE) else None

    def add(self, key: UUID, until: datetime) -> None:
        """Caches a refusal. A full cache is cleared first."""
        if len(self._until) >= MAX_CACHED_REFUSALS:
            self._until.clear()
        self._until[key] = until, timezone.now()

    def clear(self) -> None:
        self._until.clear()


recent_refusals = RecentRefusals()
