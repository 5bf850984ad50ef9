"""A model of sign-ins in plain Python: which credential the contract accepts at which time."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

ACCESS = timedelta(minutes=5)
LEEWAY = timedelta(seconds=15)
GRACE = timedelta(seconds=10)
CLIENT_IDLE = timedelta(days=14)
BROWSER_IDLE = timedelta(days=1)
BROWSER_IDLE_KEPT = timedelta(days=14)
LONGEST = timedelta(days=30)
# Sensitive actions need a password entered within this time.
RECENT = timedelta(minutes=15)
# The last use is stored at most this often.
PRECISION = timedelta(minutes=5)


@dataclass(eq=False)
class Person:
    id: int
    name: str
    password: str
    old_passwords: list[str] = field(default_factory=list)
    is_active: bool = True
    exists: bool = True
    # The authenticator app (tests.second_factors.App) that its sign-ins need.
    app: Any = None


@dataclass(eq=False)
class Stay:
    """A sign-in of a browser, or of a client, which may have a key."""

    person: Person
    sid: str
    began: datetime
    idle: timedelta
    holder: Any = None
    over: bool = False
    # Revoked by a wholesale end, whatever its row contains.
    is_revoked: bool = False
    # 2 if a second factor was proved in it.
    level: int = 1

    def __post_init__(self) -> None:
        self.proved = self.seen = self.began
        self.expires = self.began + min(self.idle, LONGEST)

    def is_good(self, now: datetime) -> bool:
        return not self.over and now < min(self.expires, self.began + LONGEST)

    def is_proved(self, now: datetime) -> bool:
        """Whether the user gave a proof at the level of the account recently."""
        return now - self.proved < RECENT and self.level >= (2 if self.person.app else 1)

    def prove(self, now: datetime, level: int) -> None:
        """A proof of this level. A password proves nothing in a sign-in of level 2 while the account has a factor."""
        if level >= self.level or not self.person.app:
            self.level = level if not self.person.app else max(level, self.level)
            self.proved = now

    def use(self, now: datetime) -> None:
        self.seen = now
        self.expires = min(now + self.idle, self.began + LONGEST)


@dataclass(eq=False)
class Cookie:
    stay: Stay
    key: str
    is_replaced: bool = False

    def is_good(self, now: datetime) -> bool:
        return not self.is_replaced and self.stay.is_good(now) and not self.stay.is_revoked


@dataclass(eq=False)
class Access:
    stay: Stay
    token: str
    made: datetime
    is_blocked: bool = False

    def is_good(self, now: datetime) -> bool:
        expires = min(self.made + ACCESS, self.stay.began + LONGEST)
        return not (self.stay.over or self.stay.is_revoked or self.is_blocked) and now < expires + LEEWAY


@dataclass(eq=False)
class Refresh:
    stay: Stay
    token: str
    jti: str
    expires: datetime
    # When it was rotated, and whether its successor is the current token.
    rotated: datetime | None = None
    is_predecessor: bool = False

    def is_genuine(self, now: datetime) -> bool:
        return now < self.expires + LEEWAY

    def is_in_grace(self, now: datetime) -> bool:
        return self.is_predecessor and self.rotated is not None and now - self.rotated < GRACE

    def is_good(self, now: datetime) -> bool:
        is_accepted = self.rotated is None or self.is_in_grace(now)
        return is_accepted and self.is_genuine(now) and self.stay.is_good(now) and not self.stay.is_revoked
