"""
The blocklist for other services: a Token Status List (draft-ietf-oauth-status-list-21). Each sign-in of a client has a
place in a list, and its access tokens name it.

- 0, valid.
- 1, invalid: the sign-in has ended.
- 2, suspended: one of its access tokens was revoked alone. Which one, introspection tells; a service that does not ask
  refuses them all, until the last that it could be has expired.

A place is marked for as long as a token that names it may be unexpired, and is never given to another sign-in. Of a
wholesale entry, the places are found by the rows of the sign-ins that it concerns, once for each list and process.
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
PLACES_PER_LIST = 2**20
# How long others may go without a new one, and believe one that they cannot renew, in seconds.
TTL_SECONDS = 10
VALID_FOR_SECONDS = 60
# A list is at most this much older than the database, in seconds.
REBUILD_SECONDS = 1.0
# Lists of the same content within these seconds are the same, whichever process made them.
ISSUE_INTERVAL_SECONDS = 5
# A sign-in that was starting when a wholesale entry was made has its place by then: no request lasts longer.
SETTLE_TIME = timedelta(seconds=30)
# Until then, the places of an entry are read again after so many seconds.
REREAD_SECONDS = 5.0


def uri(number: int) -> str:
    return f"{settings.JWT_ISSUER.rstrip('/')}/api/token/status/{number}"


def claim(index: int) -> dict[str, Any]:
    """The `status` of a token."""
    number, place = divmod(index, PLACES_PER_LIST)
    return {"status_list": {"idx": place, "uri": uri(number)}}


def compress(
    invalid: Iterable[int], suspended: Iterable[int], places: int = PLACES_PER_LIST, invalid_mask: int = 0
) -> str:
    """A list with the places that are marked (section 4.1); `invalid_mask` has those that are known as a mask."""
    packed = bytearray(places * BITS // 8)
    for place in suspended:
        packed[place >> 2] |= SUSPENDED << 2 * (place & 3)
    for place in invalid:
        shift = 2 * (place & 3)
        packed[place >> 2] = packed[place >> 2] & ~(3 << shift) | INVALID << shift
    if invalid_mask:
        marked = int.from_bytes(packed, "little") & ~(invalid_mask | invalid_mask << 1) | invalid_mask
        packed = bytearray(marked.to_bytes(len(packed), "little"))
    return base64url_encode(zlib.compress(packed, 9)).decode()


def mask(places: Iterable[int]) -> int:
    """Places that are invalid, as compress() takes them."""
    packed = bytearray(PLACES_PER_LIST * BITS // 8)
    for place in places:
        packed[place >> 2] |= INVALID << 2 * (place & 3)
    return int.from_bytes(packed, "little")


def mask_below(place: int) -> int:
    """As mask(), of all places of the list below that one."""
    return (1 << BITS * max(0, min(place, PLACES_PER_LIST))) // 3


@dataclass(frozen=True)
class Reading:
    """The places of the sign-ins that a wholesale entry concerns."""

    places: "array[int]"
    # On the monotonic clock, in seconds.
    read_at: float
    is_settled: bool

    @classmethod
    def read(cls, entry: Entry, number: int) -> "Reading":
        read_at, is_settled = time.monotonic(), timezone.now() - entry.blocked_at > SETTLE_TIME
        first = number * PLACES_PER_LIST
        concerned = SignIn.objects.filter(entry.sign_ins_q(), status_index__range=_index_range(number)).order_by()
        indexes = concerned.values_list("status_index", flat=True).iterator(chunk_size=10_000)
        return cls(array("I", (index - first for index in indexes)), read_at, is_settled)

    @property
    def is_current(self) -> bool:
        return self.is_settled or time.monotonic() - self.read_at < REREAD_SECONDS


# By what does not change of an entry: another database may have another of the same id.
Readings = Mapping[tuple[Any, ...], Reading]


def _index_range(number: int) -> tuple[int, int]:
    return number * PLACES_PER_LIST, (number + 1) * PLACES_PER_LIST - 1


@dataclass(frozen=True)
class StatusList:
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
        From the database; None if there is no such list. Three statements, and one for each wholesale entry that is
        new since the previous list.
        """
        read_at, now = time.monotonic(), int(time.time())
        if number > StatusIndex.objects.latest_index() // PLACES_PER_LIST:
            return None
        invalid, suspended = _blocked_places(number)
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


def _blocked_places(number: int) -> tuple[list[int], list[int]]:
    """The places of sign-ins that ended one by one, and of those of which a single token is blocked."""
    places: dict[str, list[int]] = {Entry.Kind.SIGN_IN: [], Entry.Kind.TOKEN: []}
    first = number * PLACES_PER_LIST
    marked = Entry.objects.in_force().individual().filter(status_index__range=_index_range(number)).order_by()
    for kind, index in marked.values_list("kind", "status_index").iterator(chunk_size=10_000):
        places[kind].append(index - first)
    return places[Entry.Kind.SIGN_IN], places[Entry.Kind.TOKEN]


def _wholesale(number: int, previous: StatusList | None) -> tuple[Readings, int, int]:
    """
    What is known of each wholesale entry whose tokens may be unexpired, all of it as a mask, and below which place of
    the list all are invalid. One statement, and one for each reading.
    """
    known = previous.readings if previous else {}
    readings: dict[tuple[Any, ...], Reading] = {}
    recent = list(Entry.objects.wholesale().with_unexpired_tokens())
    # The sign-ins of the others are among those of the latest moment.
    latest = {(entry.kind, entry.owner_id): entry for entry in reversed(recent)}
    for entry in latest.values():
        key = entry.pk, entry.before, entry.owner_id, entry.blocked_at
        reading = known.get(key)
        readings[key] = reading if reading and reading.is_current else Reading.read(entry, number)
    below = max((entry.places_below or 0 for entry in recent), default=0) - number * PLACES_PER_LIST
    if previous and below == previous.below and _are_same(readings, known):
        return readings, previous.invalid_mask, below
    places = mask(place for each in readings.values() for place in each.places)
    return readings, places | mask_below(below), below


def _are_same(readings: Readings, known: Readings) -> bool:
    return readings.keys() == known.keys() and all(known[key] is each for key, each in readings.items())


class StatusLists:
    """The lists that this process has built."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._built: dict[int, StatusList] = {}

    def get(self, number: int) -> StatusList | None:
        """At most a second old; None if there is no such list. No statement, or three once a second."""
        if known := self._fresh(number):
            return known
        with self._lock:
            if known := self._fresh(number):
                return known
            built = StatusList.build(number, self._built.get(number))
            if built:
                self._built[number] = built
            return built

    def _fresh(self, number: int) -> StatusList | None:
        known = self._built.get(number)
        return known if known and time.monotonic() - known.read_at < REBUILD_SECONDS else None


status_lists = StatusLists()
