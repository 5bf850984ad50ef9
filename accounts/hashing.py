"""Few passwords are hashed at once on a node, so that guessing does not starve whoever is signed in."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import lock_files
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
    except OSError:
        # A full disk: what cannot be counted is refused, since it could be a flood.
        return True
    finally:
        os.close(file)


def _open(name: int | str) -> int:
    return lock_files.open_file(file_name(name))


def file_name(name: int | str) -> str:
    """Common to the processes with the same database."""
    database = connection.settings_dict
    return digest("hashing", database["HOST"], database["PORT"], database["NAME"], name).hex
