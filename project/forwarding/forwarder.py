"""Sends the security events to their receiver, as they are committed: at least once, and until it is told to stop."""

import fcntl
import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, repeat

from django.db import Error, close_old_connections, connection, transaction
from django.utils import timezone

from accounts import lock_files
from accounts.models import EventReceiver, SecurityEvent
from accounts.models.event_receivers import name_of
from api.outages import OutageLog
from project.forwarding import cursor
from project.forwarding.receivers import ERRORS, RefusedForGood, receiver_of

logger = logging.getLogger(__name__)

# The time between two looks for new events.
IDLE_SECONDS = 0.5
# The time between two attempts while the receiver, or the database, is unavailable.
PAUSES_SECONDS = (1, 2, 4, 8, 15, 30)


class Forwarder:
    """Sends events until stop(). Several may run: one of them sends, the others wait for its end."""

    def __init__(self, url: str, *, from_now: bool = False) -> None:
        """`from_now`: a new receiver gets only the events after this moment, not all."""
        self._name = name_of(url)
        self._from_now = from_now
        self._is_registered = False
        self._receiver = receiver_of(url)
        # The size of the next batch: less after one that the receiver refuses for good.
        self._limit = cursor.MAX_EVENTS
        self._is_stopped = threading.Event()
        self._outage = OutageLog(
            f"Security events cannot be sent to {self._name}, and wait in the database",
            f"Security events are sent to {self._name} again",
        )

    def stop(self) -> None:
        """Makes run() return after the current batch."""
        self._is_stopped.set()

    def run(self) -> None:
        pauses = _pauses()
        while not self._is_stopped.is_set():
            try:
                has_more = self.send_batch()
            except (Error, *ERRORS) as error:
                self._outage.failed(error)
                close_old_connections()
                self._is_stopped.wait(next(pauses))
                continue
            self._outage.recovered()
            pauses = _pauses()
            if not has_more:
                self._is_stopped.wait(IDLE_SECONDS)
        self._receiver.close()

    def send_batch(self) -> bool:
        """
        Sends at most MAX_EVENTS, and stores that. Returns whether there are more; False as well while another process
        sends. Four statements without gaps. Raises Error, or one of receivers.ERRORS: then nothing is stored.
        """
        self._register()
        # Before the transaction, which should be short.
        self._receiver.open()
        with _sole_sender(self._name) as state:
            if state is None:
                return False
            batch = cursor.read(state, self._limit)
            if batch.events and not self._send(batch.events):
                return True
            if batch.events or batch.gaps != state.gaps:
                state.advance(batch.last_id, batch.gaps, timezone.now())
        return batch.has_more

    def _send(self, events: list[SecurityEvent]) -> bool:
        """
        Returns False if the receiver refuses these events for good: then the next batch is half as large. A single one
        is skipped, so that it does not hold up all others.
        """
        try:
            self._receiver.send(events)
        except RefusedForGood as error:
            if len(events) > 1:
                self._limit = len(events) // 2
                return False
            logger.error("Security event %d is not sent: %s", events[0].pk, error)
        self._limit = min(2 * self._limit, cursor.MAX_EVENTS)
        return True

    def _register(self) -> None:
        """Creates the row of a new receiver. No statement from the second call on."""
        if self._is_registered:
            return
        if not EventReceiver.objects.filter(name=self._name).exists():
            last_id = cursor.newest_id() if self._from_now else 0
            EventReceiver.objects.get_or_create(name=self._name, defaults={"last_id": last_id})
        self._is_registered = True


@contextmanager
def _sole_sender(name: str) -> Iterator[EventReceiver | None]:
    """
    Yields the receiver's row if no other process sends to it. PostgreSQL locks the row. SQLite, which would lock all
    writers out, has a lock file: all its processes are on this node.
    """
    if connection.vendor == "postgresql":
        with transaction.atomic():
            yield EventReceiver.objects.select_for_update(skip_locked=True).filter(name=name).first()
        return
    database = hashlib.sha256(str(connection.settings_dict["NAME"]).encode()).hexdigest()[:16]
    file = lock_files.open_file(f"forward_events-{database}")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield None
    else:
        yield EventReceiver.objects.filter(name=name).first()
    finally:
        os.close(file)


def _pauses() -> Iterator[float]:
    return chain(PAUSES_SECONDS, repeat(PAUSES_SECONDS[-1]))
