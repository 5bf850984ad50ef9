"""
The blocklist for other services: a Token Status List (draft-ietf-oauth-status-list-21). Each sign-in of a client has a
place in a list, and its access tokens name it.

- 0, valid.
- 1, invalid: the sign-in has ended.
- 2, suspended: one of its access tokens was revoked alone. Which one, introspection tells; a service that does not ask
  refuses them all, until the last that it could be has expired.

A place is marked for as long as a token that names it may be unexpired, and is never given to another sign-in.
"""

import hashlib
import threading
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jwt
from django.conf import settings
from django.utils import timezone
from jwt.utils import base64url_encode

from api.blocklist.models import Entry, StatusIndex
from api.keys import keyring

BITS = 2
INVALID, SUSPENDED = 1, 2
PLACES_PER_LIST = 2**20
# How long others may go without a new one, and believe one that they cannot renew, in seconds.
TTL = 10
VALID_FOR = 60
# A list is at most this much older than the database, in seconds.
REBUILT_AFTER = 1.0
# Lists of the same content within these seconds are the same, whichever process made them.
ISSUED_EVERY = 5


def uri(number: int) -> str:
    return f"{settings.JWT_ISSUER.rstrip('/')}/api/token/status/{number}"


def claim(index: int) -> dict[str, Any]:
    """The `status` of a token."""
    number, place = divmod(index, PLACES_PER_LIST)
    return {"status_list": {"idx": place, "uri": uri(number)}}


def compress(invalid: Iterable[int], suspended: Iterable[int], places: int = PLACES_PER_LIST) -> str:
    """A list with the places that are marked (section 4.1)."""
    packed = bytearray(places * BITS // 8)
    for place in suspended:
        packed[place >> 2] |= SUSPENDED << 2 * (place & 3)
    for place in invalid:
        shift = 2 * (place & 3)
        packed[place >> 2] = packed[place >> 2] & ~(3 << shift) | INVALID << shift
    return base64url_encode(zlib.compress(packed, 9)).decode()


@dataclass(frozen=True)
class StatusList:
    etag: str
    token: str
    # On the monotonic clock, in seconds.
    read_at: float

    @classmethod
    def build(cls, number: int, previous: "StatusList | None" = None) -> "StatusList | None":
        """From the database; None if there is no such list. Three statements."""
        read_at, now = time.monotonic(), int(time.time())
        if number > StatusIndex.objects.latest_index() // PLACES_PER_LIST:
            return None
        lst = compress(_places(number, Entry.Kind.SIGN_IN), _places(number, Entry.Kind.TOKEN))
        key, issued_at = keyring.signing_key, now - now % ISSUED_EVERY
        etag = f'W/"{hashlib.sha256(f"{key.kid} {issued_at} {lst}".encode()).hexdigest()}"'
        if previous and previous.etag == etag:
            return cls(etag, previous.token, read_at)
        claims = {
            "iss": settings.JWT_ISSUER,
            "sub": uri(number),
            "iat": issued_at,
            "exp": issued_at + VALID_FOR,
            "ttl": TTL,
            "status_list": {"bits": BITS, "lst": lst},
        }
        headers = {"kid": key.kid, "typ": "statuslist+jwt"}
        return cls(etag, jwt.encode(claims, key.signing, algorithm=key.algorithm, headers=headers), read_at)


def _places(number: int, kind: str) -> Iterable[int]:
    first = number * PLACES_PER_LIST
    marked = Entry.objects.filter(kind=kind, until__gt=timezone.now())
    marked = marked.filter(status_index__range=(first, first + PLACES_PER_LIST - 1)).order_by()
    return (index - first for index in marked.values_list("status_index", flat=True).iterator(chunk_size=10_000))


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
        return known if known and time.monotonic() - known.read_at < REBUILT_AFTER else None


status_lists = StatusLists()
