"""Few passwords are hashed at once on a node, so that guessing does not starve whoever is signed in."""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.locks import Locked, digest

RETRY_AFTER = timedelta(seconds=1)
# How many more are let in for each turn before that is called a flood, which is over after so many seconds of calm:
# a class that begins at nine is none.
MORE_PER_TURN = 10
CALM_SECONDS = 10


class Busy(Locked):
    """Too many are being hashed, and keep coming: whoever waited would keep a worker from others."""

    def __init__(self) -> None:
        super().__init__(timezone.now() + RETRY_AFTER)
        self.message = _("Many people are signing in just now. Try again in a moment.")
        self.params = None


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


@contextmanager
def turn() -> Iterator[None]:
    """To be put around what hashes a password that a stranger sent. Raises Busy, at once, in a flood of them."""
    places = (_take(number) for number in range(settings.HASHES_AT_ONCE))
    place = next((taken for taken in places if taken is not None), None)
    if place is None and _is_flood():
        raise Busy
    try:
        yield
    finally:
        if place is not None:
            os.close(place)


def _take(number: int) -> int | None:
    """An open file that is locked until it is closed, or its process dies in whatever way; None if another has it."""
    file = _open(number)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def _is_flood() -> bool:
    """Counts one that came when all turns were taken, by the length of a file."""
    file = _open("more")
    try:
        told = os.fstat(file)
        if time.time() - told.st_mtime > CALM_SECONDS:
            os.ftruncate(file, 0)
        elif told.st_size >= MORE_PER_TURN * settings.HASHES_AT_ONCE:
            os.utime(file)
            return True
        os.write(file, b".")
        return False
    finally:
        os.close(file)


def _open(name: int | str) -> int:
    return os.open(path(name), os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def path(name: int | str) -> str:
    """Common to those with the same database; nobody else on the node can guess it, and so be first there."""
    database = connection.settings_dict
    secret = digest("hashing", os.getuid(), database["HOST"], database["PORT"], database["NAME"], name).hex
    return f"{tempfile.gettempdir()}/wristband-{secret}"
