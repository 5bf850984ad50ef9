"""Limits how many passwords a node hashes at once, so that guesses do not slow down the requests of signed-in users."""

import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.contrib.auth.hashers import check_password, get_hasher, identify_hasher, make_password
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import addresses, lock_files, password_validation
from accounts.http import request_context
from accounts.rate_limits import TooManyAttempts, digest

RETRY_AFTER = timedelta(seconds=1)
# Size of a client's leaky bucket, for each slot: more waiting hashes are a flood. Large enough for a class that signs
# in at the same time from one address.
OVERFLOW_PER_SLOT = 10
# A full bucket leaks empty in this time.
OVERLOAD_RESET_SECONDS = 10
# The bucket of all clients together is this many times larger.
ALL_CLIENTS_FACTOR = 3
MAX_WAIT_SECONDS = 10.0
POLL_SECONDS = 0.004

# The file of buckets: for each, the number of hashes that waited, and the time of writing.
BUCKET = struct.Struct("dd")
BUCKETS = 4096
# The index of the bucket of all clients.
ALL_CLIENTS = 0

_has_slot: ContextVar[bool] = ContextVar("has_slot", default=False)


class HashingOverloaded(TooManyAttempts):
    """Too many passwords are being hashed. This one was neither hashed nor counted as a guess."""

    def __init__(self) -> None:
        super().__init__(timezone.now() + RETRY_AFTER)
        self.message = _("Many users are signing in at the moment. Try again shortly.")
        self.params = None


# Measurement


class Stopwatch:
    """The total seconds that password hashes take."""

    def __init__(self) -> None:
        self.seconds = 0.0


_stopwatch: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Measures the password hashes of a block, so that measurements of sessions and tokens can subtract them."""
    watch = Stopwatch()
    reset_to = _stopwatch.set(watch)
    try:
        yield watch
    finally:
        _stopwatch.reset(reset_to)


@contextmanager
def timed() -> Iterator[None]:
    """Adds the duration of the block, a password hash, to the active stopwatch."""
    started = time.perf_counter()
    try:
        yield
    finally:
        if watch := _stopwatch.get():
            watch.seconds += time.perf_counter() - started


# Hashes


def hashed(password: str | None) -> str:
    """Returns the hash of a password; for None, one that no password matches. Raises HashingOverloaded."""
    if password is None:
        return make_password(None)
    with _slot_in_request():
        return make_password(password_validation.normalized(password))


def is_right(password: str | None, encoded: str, upgrade: Callable[[str], None]) -> bool:
    """
    Returns whether the password matches the hash, in its normal form or as it was sent (older hashes are of passwords
    that were not normalised). Calls `upgrade` with the password if its hash is out of date. Raises HashingOverloaded.
    """
    with _slot_in_request():
        for form in password_validation.forms(password):
            if form == password_validation.normalized(form):
                if check_password(form, encoded, upgrade):
                    return True
            elif check_password(form, encoded):
                upgrade(form)
                return True
        if _is_outdated(encoded):
            # Otherwise a fast refusal shows that the account has an old hash: that its user moved in.
            _hash_forms(password)
    return False


def simulate_check(password: str) -> None:
    """Takes as long as is_right(), for a user who does not exist. Raises HashingOverloaded."""
    with _slot_in_request():
        _hash_forms(password)


def _hash_forms(password: str | None) -> None:
    for form in password_validation.forms(password):
        make_password(form)


def _is_outdated(encoded: str) -> bool:
    """Whether a right password would be hashed again. False for an unknown hash, for which Django hashes a text."""
    try:
        hasher, present = identify_hasher(encoded), get_hasher()
    except ValueError:
        return False
    return bool(hasher.algorithm != present.algorithm or present.must_update(encoded))


# Slots


class Client(NamedTuple):
    """A client whose hashes count together: an address or, if the user is known, a browser or a user."""

    key: str
    is_known: bool = False

    @property
    def is_near_flood(self) -> bool:
        """Whether the client's bucket is at least half full."""
        return _level(self.bucket) >= _max_level() / 2

    @property
    def slots(self) -> range:
        """
        The slots that the client may use. A client near a flood has one slot, and none while other clients wait. The
        last slot is reserved for known clients.
        """
        if self.is_near_flood:
            return range(0 if _others_wait() else 1)
        return range(settings.HASHES_AT_ONCE if self.is_known else max(1, settings.HASHES_AT_ONCE - 1))

    @property
    def bucket(self) -> int:
        """The index of the client's bucket. Clients may share one."""
        return ALL_CLIENTS + 1 + digest("flood", *self).int % (BUCKETS - 1)

    @property
    def is_flooding(self) -> bool:
        """Whether one more waiting hash would overflow the bucket of the client or of all clients."""
        return _level(self.bucket) > _max_level() - 1 or _level(ALL_CLIENTS) > ALL_CLIENTS_FACTOR * _max_level() - 1


@contextmanager
def hashing_slot(known: str = "") -> Iterator[None]:
    """
    Takes a slot for hashing during the block. Raises HashingOverloaded in a flood, or after MAX_WAIT_SECONDS. `known`
    identifies a client whose user is known; others are identified by their address. Nested calls do nothing. In a
    transaction it does not wait for a slot, since other requests may wait for the rows that the transaction locked.
    """
    if _has_slot.get():
        yield
        return
    slot = _slot_for(Client(known, is_known=True) if known else _stranger())
    token = _has_slot.set(True)
    try:
        yield
    finally:
        _has_slot.reset(token)
        if slot is not None:
            os.close(slot)


@contextmanager
def _slot_in_request() -> Iterator[None]:
    """As hashing_slot(). Outside a request, as in commands, no slot is needed."""
    if request_context.request() is None:
        yield
        return
    with hashing_slot(), timed():
        yield


def check_flood() -> None:
    """Raises HashingOverloaded if the next hash of this address would be refused. No statement; it counts nothing."""
    client = _stranger()
    if not client.is_flooding:
        return
    slot = _free_slot(client)
    if slot is None:
        raise HashingOverloaded
    os.close(slot)


def _stranger() -> Client:
    address = request_context.ip_address()
    return Client(addresses.network(address) if address else "")


def _slot_for(client: Client) -> int | None:
    """
    Returns an open file, whose lock is released when it is closed or the process ends. None in a transaction if no slot
    is free.
    """
    slot = _free_slot(client)
    if slot is not None:
        return slot
    if client.is_flooding:
        raise HashingOverloaded
    for bucket in (ALL_CLIENTS, client.bucket):
        _write(bucket, _level(bucket) + 1)
    return None if connection.in_atomic_block else _wait_for_slot(client)


def _wait_for_slot(client: Client) -> int:
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    with ExitStack() as mark:
        if not client.is_near_flood:
            mark.enter_context(_waiting())
        while time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            if (slot := _free_slot(client)) is not None:
                return slot
    raise HashingOverloaded


@contextmanager
def _waiting() -> Iterator[None]:
    """Marks for all processes of the node that a client is waiting."""
    file = _open("waiting")
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield
    finally:
        os.close(file)


def _others_wait() -> bool:
    """Returns whether a process of this node has marked that a client is waiting."""
    file = _open("waiting")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _free_slot(client: Client) -> int | None:
    return next((slot for slot in map(_try_slot, client.slots) if slot is not None), None)


def _try_slot(number: int) -> int | None:
    file = _open(number)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


# Floods. The file is not locked: if two processes write at once, one more hash may wait for a slot.


def _max_level() -> int:
    return OVERFLOW_PER_SLOT * settings.HASHES_AT_ONCE


def _level(bucket: int) -> float:
    """Returns the level of a leaky bucket: hashes that waited recently."""
    file = _open("floods")
    try:
        stored = os.pread(file, BUCKET.size, bucket * BUCKET.size)
    finally:
        os.close(file)
    if len(stored) < BUCKET.size:
        return 0.0
    level, written_at = BUCKET.unpack(stored)
    age = time.time() - written_at
    # If the clock was set back, the bucket counts as empty, so that it does not stay full.
    return max(0.0, level - age * _max_level() / OVERLOAD_RESET_SECONDS) if age >= 0 else 0.0


def _write(bucket: int, level: float) -> None:
    """Writes the level of a bucket. Raises HashingOverloaded on a full disk, since a flood could not be detected."""
    file = _open("floods")
    try:
        os.pwrite(file, BUCKET.pack(level, time.time()), bucket * BUCKET.size)
    except OSError as error:
        raise HashingOverloaded from error
    finally:
        os.close(file)


def _open(name: int | str) -> int:
    return lock_files.open_file(file_name(name))


def file_name(name: int | str) -> str:
    """Returns the name of a lock file: the same for all processes that use the same database."""
    database = connection.settings_dict
    return digest("hashing", database["HOST"], database["PORT"], database["NAME"], name).hex
