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
from django.contrib.auth.hashers import check_password, make_password
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import addresses, lock_files, password_validation
from accounts.http import request_context
from accounts.rate_limits import TooManyAttempts, digest

RETRY_AFTER = timedelta(seconds=1)
# How many hashes of one client, for each slot, may wait for one before that is a flood. A class that signs in at nine
# from one address is none. They leak away in so many seconds.
OVERFLOW_PER_SLOT = 10
OVERLOAD_RESET_SECONDS = 10
# So many times as many of all clients together.
MORE_OF_ALL = 3
WAIT_SECONDS = 10.0
POLL_SECONDS = 0.004

# The file of floods: for each client, how many hashes had to wait, and when that was written. The first is of all.
BUCKET = struct.Struct("dd")
BUCKETS = 4096
ALL = 0

_has_slot: ContextVar[bool] = ContextVar("has_slot", default=False)


class HashingOverloaded(TooManyAttempts):
    """Too many passwords are being hashed. This one was not hashed, and not counted as a guess."""

    def __init__(self) -> None:
        super().__init__(timezone.now() + RETRY_AFTER)
        self.message = _("Many users are signing in at the moment. Try again shortly.")
        self.params = None


# Measurement


class Stopwatch:
    """Adds up the seconds that hashes of passwords take."""

    def __init__(self) -> None:
        self.seconds = 0.0


_stopwatch: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Measures the hashes of a block: how long they take says nothing about sessions or tokens."""
    watch = Stopwatch()
    reset_to = _stopwatch.set(watch)
    try:
        yield watch
    finally:
        _stopwatch.reset(reset_to)


@contextmanager
def timed() -> Iterator[None]:
    """To be put around a hash."""
    started = time.perf_counter()
    try:
        yield
    finally:
        if watch := _stopwatch.get():
            watch.seconds += time.perf_counter() - started


# Hashes


def hashed(password: str | None) -> str:
    """A hash to store; None makes one that no password matches. Raises HashingOverloaded."""
    if password is None:
        return make_password(None)
    with _turn_of_request():
        return make_password(password_validation.normalized(password))


def is_right(password: str | None, encoded: str, upgrade: Callable[[str], None]) -> bool:
    """
    Whether a password has that hash: in its normal form, or as it was sent (hashes from before passwords were
    normalised). `upgrade` is called with a password whose hash is out of date. Raises HashingOverloaded.
    """
    with _turn_of_request():
        for form in password_validation.forms(password):
            if form == password_validation.normalized(form):
                if check_password(form, encoded, upgrade):
                    return True
            elif check_password(form, encoded):
                upgrade(form)
                return True
    return False


def pretend(password: str) -> None:
    """Does the work of is_right() for a user who does not exist. Raises HashingOverloaded."""
    with _turn_of_request():
        for form in password_validation.forms(password):
            make_password(form)


# Slots


class Client(NamedTuple):
    """Whose hashes count together: those of an address or, if the user is known, of one browser or user."""

    key: str
    is_known: bool = False

    @property
    def is_near_flood(self) -> bool:
        return _level(self.bucket) >= _most() / 2

    @property
    def slots(self) -> range:
        """A client near a flood has one slot, and none while others wait; the last slot is kept for known clients."""
        if self.is_near_flood:
            return range(0 if _do_others_wait() else 1)
        return range(settings.HASHES_AT_ONCE if self.is_known else max(1, settings.HASHES_AT_ONCE - 1))

    @property
    def bucket(self) -> int:
        return ALL + 1 + digest("flood", *self).int % (BUCKETS - 1)

    @property
    def is_flooding(self) -> bool:
        return _level(self.bucket) > _most() - 1 or _level(ALL) > MORE_OF_ALL * _most() - 1


@contextmanager
def hashing_slot(known: str = "") -> Iterator[None]:
    """
    A slot for hashing. Raises HashingOverloaded in a flood. `known` identifies a client whose user is known; others are
    identified by their address. Inside another hashing_slot() it does nothing. In a transaction it does not wait for a
    slot, since other requests may be waiting for the rows that the transaction locked.
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
def _turn_of_request() -> Iterator[None]:
    """Commands hash without a slot: no client causes that."""
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
    """An open file that is locked until it is closed, or its process dies. None in a transaction, if none is free."""
    slot = _free_slot(client)
    if slot is not None:
        return slot
    if client.is_flooding:
        raise HashingOverloaded
    for bucket in (ALL, client.bucket):
        _write(bucket, _level(bucket) + 1)
    return None if connection.in_atomic_block else _wait_for_slot(client)


def _wait_for_slot(client: Client) -> int:
    deadline = time.monotonic() + WAIT_SECONDS
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
    """Marks that a client waits, for every process of the node."""
    file = _open("waiting")
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield
    finally:
        os.close(file)


def _do_others_wait() -> bool:
    file = _open("waiting")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _free_slot(client: Client) -> int | None:
    return next((slot for slot in map(_take, client.slots) if slot is not None), None)


def _take(number: int) -> int | None:
    file = _open(number)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


# Floods. The file is not locked: where two processes write at once, one more hash waits for a slot.


def _most() -> int:
    return OVERFLOW_PER_SLOT * settings.HASHES_AT_ONCE


def _level(bucket: int) -> float:
    """How many hashes had to wait lately."""
    file = _open("floods")
    try:
        stored = os.pread(file, BUCKET.size, bucket * BUCKET.size)
    finally:
        os.close(file)
    if len(stored) < BUCKET.size:
        return 0.0
    level, written_at = BUCKET.unpack(stored)
    age = time.time() - written_at
    # A clock that was set back must not prolong a flood.
    return max(0.0, level - age * _most() / OVERLOAD_RESET_SECONDS) if age >= 0 else 0.0


def _write(bucket: int, level: float) -> None:
    """Raises HashingOverloaded on a full disk: what cannot be counted is refused, since it could be a flood."""
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
    """Common to the processes with the same database."""
    database = connection.settings_dict
    return digest("hashing", database["HOST"], database["PORT"], database["NAME"], name).hex
