"""Few passwords are hashed at once on a node, so that guessing does not starve whoever is signed in."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.locks import Locked, digest

RETRY_AFTER = timedelta(seconds=1)


class Busy(Locked):
    """As many as may are hashing: whoever waited would keep a worker from others."""

    def __init__(self) -> None:
        super().__init__(timezone.now() + RETRY_AFTER)
        self.message = _("Many people are signing in just now. Try again in a moment.")
        self.params = None


@contextmanager
def turn() -> Iterator[None]:
    """To be put around what hashes a password that a stranger sent. Raises Busy, at once, if it is nobody's turn."""
    places = (_take(number) for number in range(settings.HASHES_AT_ONCE))
    place = next((taken for taken in places if taken is not None), None)
    if place is None:
        raise Busy
    try:
        yield
    finally:
        os.close(place)


def _take(number: int) -> int | None:
    """An open file that is locked until it is closed, or its process dies in whatever way; None if another has it."""
    # Common to those with the same database; nobody else on the node can guess the name, and so take it first.
    database = connection.settings_dict
    name = digest("hashing", database["HOST"], database["PORT"], database["NAME"], number).hex
    file = os.open(f"{tempfile.gettempdir()}/wristband-{name}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file
