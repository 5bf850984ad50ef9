"""
The blocklist for other services: Token Status Lists (draft-ietf-oauth-status-list-21). Each sign-in of a client has an
index, which its access tokens contain. `number` is the list of an index, `position` its place in that list. Statuses:

- 0, valid.
- 1, invalid: the sign-in has ended.
- 2, suspended: one of its access tokens was revoked. Introspection returns which one; a service without introspection
  refuses all of them, until that token has expired.

A position is marked for as long as a token with it may be unexpired, and is never assigned to another sign-in. The
positions of a wholesale entry are read from the rows of its sign-ins, once for each list and process.
"""

import hashlib
import threading
import time
import zlib
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import jwt
from django.conf import settings
from django.utils import timezone
from jwt.utils import base64url_encode

from accounts.models import SignIn
from api.blocklist.models import Entry, StatusIndex
from api.keys import keyring

BITS = 2
INVALID, SUSPENDED = 1, 2
INDEXES_PER_LIST = 2**20
# After how long other services fetch a list again, and how long they may use one if they cannot, in seconds.
TTL_SECONDS = 10
VALID_FOR_SECONDS = 60
# The maximum age of a list, in seconds.
REBUILD_SECONDS = 1.0
# Within this time, all processes build the same list from the same entries, in seconds.
ISSUE_INTERVAL_SECONDS = 5
# A sign-in that was starting when a wholesale entry was added has its index after this: no request lasts longer.
SETTLE_TIME = timedelta(seconds=30)
# How often the positions of an entry are read again until then, in seconds.
REREAD_SECONDS = 5.0


def uri(number: int) -> str:
    return f"{settings.JWT_ISSUER.rstrip('/')}/api/token/status/{number}"


def claim(index: int) -> dict[str, Any]:
    """The `status` claim of an access token (section 6.1)."""
    number, position = divmod(index, INDEXES_PER_LIST)
    return {"status_list": {"idx": position, "uri": uri(number)}}


def compress(
    invalid: Iterable[int], suspended: Iterable[int], length: int = INDEXES_PER_LIST, invalid_mask: int = 0
) -> str:
    """The compressed list (section 4.1). `invalid_mask` has further invalid positions, as mask() returns them."""
    packed = bytearray(length * BITS // 8)
    for position in suspended:
        packed[position >> 2] |= SUSPENDED << 2 * (position & 3)
    for position in invalid:
        shift = 2 * (position & 3)
        packed[position >> 2] = packed[position >> 2] & ~(3 << shift) | INVALID << shift
    if invalid_mask:
        marked = int.from_bytes(packed, "little") & ~(invalid_mask | invalid_mask << 1) | invalid_mask
        packed = bytearray(marked.to_bytes(len(packed), "little"))
    return base64url_encode(zlib.compress(packed, 9)).decode()


def mask(positions: Iterable[int]) -> int:
    """The list, as an integer, with these positions marked invalid."""
    packed = bytearray(INDEXES_PER_LIST * BITS // 8)
    for position in positions:
        packed[position >> 2] |= INVALID << 2 * (position & 3)
    return int.from_bytes(packed, "little")


def mask_below(position: int) -> int:
    """As mask(), for all positions of the list below one."""
    return (1 << BITS * max(0, min(position, INDEXES_PER_LIST))) // 3


@dataclass(frozen=True)
class Reading:
    """The positions of the sign-ins of a wholesale entry, and when they were read."""

    positions: "array[int]"
    # On the monotonic clock, in seconds.
    read_at: float
    is_settled: bool

    @classmethod
    def read(cls, entry: Entry, number: int) -> "Reading":
        read_at, is_settled = time.monotonic(), timezone.now() - entry.blocked_at > SETTLE_TIME
        first = number * INDEXES_PER_LIST
        concerned = SignIn.objects.filter(entry.sign_ins_q(), status_index__range=_index_range(number)).order_by()
        indexes = concerned.values_list("status_index", flat=True).iterator(chunk_size=10_000)
        return cls(array("I", (index - first for index in indexes)), read_at, is_settled)

    @property
    def is_current(self) -> bool:
        return self.is_settled or time.monotonic() - self.read_at < REREAD_SECONDS


# By the constant fields of an entry: after a restore, the same id may have another entry.
Readings = Mapping[tuple[Any, ...], Reading]


def _index_range(number: int) -> tuple[int, int]:
    return number * INDEXES_PER_LIST, (number + 1) * INDEXES_PER_LIST - 1


@dataclass(frozen=True)
class StatusList:
    """A signed list, with the readings that the next one reuses."""

    etag: str
    token: str
    # On the monotonic clock, in seconds.
    read_at: float
    readings: Readings = field(default_factory=dict)
    invalid_mask: int = 0
    below: int = 0

    @classmethod
    def build(cls, number: int, previous: "StatusList | None" = None) -> "StatusList | None":
        """
        Builds a list from the database; None if no index belongs to it. Three statements, and one for each wholesale
        entry that is new since the previous list.
        """
        read_at, now = time.monotonic(), int(time.time())
        if number > StatusIndex.objects.latest_index() // INDEXES_PER_LIST:
            return None
        invalid, suspended = _blocked_positions(number)
        wholesale = _wholesale(number, previous)
        lst = compress(invalid, suspended, invalid_mask=wholesale[1])
        key, issued_at = keyring.signing_key, now - now % ISSUE_INTERVAL_SECONDS
        etag = f'W/"{hashlib.sha256(f"{key.kid} {issued_at} {lst}".encode()).hexdigest()}"'
        if previous and previous.etag == etag:
            return cls(etag, previous.token, read_at, *wholesale)
        claims = {
            "iss": settings.JWT_ISSUER,
            "sub": uri(number),
            "iat": issued_at,
            "exp": issued_at + VALID_FOR_SECONDS,
            "ttl": TTL_SECONDS,
            "status_list": {"bits": BITS, "lst": lst},
        }
        headers = {"kid": key.kid, "typ": "statuslist+jwt"}
        token = jwt.encode(claims, key.signing, algorithm=key.algorithm, headers=headers)
        return cls(etag, token, read_at, *wholesale)


def _blocked_positions(number: int) -> tuple[list[int], list[int]]:
    """The positions of sign-ins that ended one by one, and of those with a single blocked token. One statement."""
    positions: dict[str, list[int]] = {Entry.Kind.SIGN_IN: [], Entry.Kind.TOKEN: []}
    first = number * INDEXES_PER_LIST
    marked = Entry.objects.in_force().individual().filter(status_index__range=_index_range(number)).order_by()
    for kind, index in marked.values_list("kind", "status_index").iterator(chunk_size=10_000):
        positions[kind].append(index - first)
    return positions[Entry.Kind.SIGN_IN], positions[Entry.Kind.TOKEN]


def _wholesale(number: int, previous: StatusList | None) -> tuple[Readings, int, int]:
    """
    The reading of each wholesale entry with unexpired tokens, a mask of all of them, and the position below which all
    are invalid. One statement, and one for each new reading.
    """
    cached = previous.readings if previous else {}
    readings: dict[tuple[Any, ...], Reading] = {}
    recent = list(Entry.objects.wholesale().with_unexpired_tokens())
    # The latest entry for a user, or for everybody, covers the earlier ones.
    latest = {(entry.kind, entry.owner_id): entry for entry in reversed(recent)}
    for entry in latest.values():
        key = entry.pk, entry.before, entry.owner_id, entry.blocked_at
        reading = cached.get(key)
        readings[key] = reading if reading and reading.is_current else Reading.read(entry, number)
    below = max((entry.places_below or 0 for entry in recent), default=0) - number * INDEXES_PER_LIST
    if previous and below == previous.below and _are_same(readings, cached):
        return readings, previous.invalid_mask, below
    invalid_mask = mask(position for each in readings.values() for position in each.positions)
    return readings, invalid_mask | mask_below(below), below


def _are_same(readings: Readings, cached: Readings) -> bool:
    return readings.keys() == cached.keys() and all(cached[key] is each for key, each in readings.items())


class StatusLists:
    """The cache of the lists that this process has built."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._built: dict[int, StatusList] = {}

    def get(self, number: int) -> StatusList | None:
        """A list at most a second old; None if no index belongs to it. No statement, or three once a second."""
        if cached := self._fresh(number):
            return cached
        with self._lock:
            if cached := self._fresh(number):
                return cached
            built = StatusList.build(number, self._built.get(number))
            if built:
                self._built[number] = built
            return built

    def _fresh(self, number: int) -> StatusList | None:
        cached = self._built.get(number)
        return cached if cached and time.monotonic() - cached.read_at < REBUILD_SECONDS else None


status_lists = StatusLists()
