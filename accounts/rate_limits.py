"""Rate limits for password guesses and mails: what counts together, and how long the next attempt has to wait."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from math import ceil
from typing import Any, NamedTuple, Self
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import addresses

FIRST_WAIT = timedelta(seconds=1)
# How many times the limit of one address is the limit of all clients without one.
CLIENTS_IN_CROWD = 20
# How long a process goes by its own memory of a refusal before it asks the database again.
REFUSAL_REMEMBERED = timedelta(seconds=1)
REFUSALS_REMEMBERED = 10_000


class Kind(models.TextChoices):
    PAIR = "pair", _("password attempts: one account, one IP address")
    ACCOUNT = "account", _("password attempts: one account, all IP addresses")
    ADDRESS = "address", _("password attempts: one IP address, all accounts")
    DEVICE = "device", _("password attempts: one account, a known browser")
    INSIDE = "inside", _("password attempts: one account, while signed in")
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


def kinds() -> list[tuple[str, Any]]:
    """Choices of a field, as a function, so that a new kind needs no migration."""
    return Kind.choices


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

    def of_crowd(self) -> Self:
        return self._replace(free=self.free * CLIENTS_IN_CROWD, most=self.most * CLIENTS_IN_CROWD)


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
    # Each sign-up and each change of address, since the answer says whether a name or an address is taken.
    Kind.SIGN_UP: Limit(60, timedelta(hours=1), 60, timedelta(hours=1)),
    # The one at signing up is among them.
    Kind.CONFIRM: Limit(3, timedelta(hours=1), 3, timedelta(hours=1)),
    # Whoever mistypes an address tries another one.
    Kind.CONFIRMING: Limit(6, timedelta(hours=1), 6, timedelta(hours=1)),
    Kind.CHANGING: Limit(10, timedelta(hours=1), 10, timedelta(hours=1)),
    Kind.NOTICE: Limit(10, timedelta(hours=1), 10, timedelta(hours=1)),
    Kind.NOTIFYING: Limit(10, timedelta(hours=1), 10, timedelta(hours=1)),
    Kind.URGENT: Limit(1, timedelta(hours=1), 1, timedelta(hours=1)),
    Kind.SUMMARY: Limit(1, timedelta(hours=1), 1, timedelta(hours=1)),
}
# Kinds whose clients are told apart by nothing but their address.
BY_ADDRESS = frozenset({Kind.ADDRESS, Kind.RESETTING, Kind.SIGN_UP})


class TooManyAttempts(ValidationError):
    """Too many: the next one is not heard before a moment, right or wrong."""

    def __init__(self, until: datetime, by_strangers: bool = False) -> None:
        """`by_strangers`: only the guesses of all addresses together were too many."""
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
    """The limit of a count of that kind, for clients at that address."""
    limit = LIMITS[kind]
    return limit.of_crowd() if address is None and kind in BY_ADDRESS else limit


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


def of_address(kind: Kind, address: str | None) -> list[Source]:
    """
    Clients without an address (a Unix socket, a proxy that sends none) cannot be told apart: one count for all of them
    would let one client lock out the others, and none would be a way around. So they share the count of a crowd.
    """
    if address is None:
        return [Source(kind, digest(kind, "no address"))]
    block = addresses.network(address)
    return [Source(kind, digest(kind, block), None, block)]


# What was just refused


class RecentRefusals:
    """
    The sources that this process has just refused. They are refused again without a statement, so that a flood of
    guesses costs next to nothing; a lock that another process lifts counts here a second later.
    """

    def __init__(self) -> None:
        self._until: dict[UUID, tuple[datetime, datetime]] = {}

    def check(self, sources: Iterable[Source]) -> None:
        """Raises TooManyAttempts if one of them has to wait."""
        now = timezone.now()
        waits = {source.kind: until for source in sources if (until := self._remembered(source.key, now))}
        if waits:
            raise TooManyAttempts(max(waits.values()), by_strangers=waits.keys() == {Kind.ACCOUNT})

    def _remembered(self, key: UUID, now: datetime) -> datetime | None:
        until, noted_at = self._until.get(key, (now, now))
        return until if noted_at <= now < min(until, noted_at + REFUSAL_REMEMBERED) else None

    def add(self, key: UUID, until: datetime) -> None:
        if len(self._until) >= REFUSALS_REMEMBERED:
            self._until.clear()
        self._until[key] = until, timezone.now()

    def clear(self) -> None:
        self._until.clear()


recent_refusals = RecentRefusals()
