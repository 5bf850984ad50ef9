"""
The mirror: the blocklist in the memory of a process, so that a check needs no statement and no round trip.

New entries arrive by Redis Pub/Sub; each check first reads the messages from the socket. The database is also read once
a second, so that a lost message delays a block by at most a second. While the subscription does not work, or the mirror
is incomplete, checks query the database.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Iterable
from datetime import datetime
from itertools import groupby, islice
from operator import itemgetter
from uuid import UUID

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connections

from accounts import sids
from accounts.models.restores import RUN_AFTER_RESTORE
from api import metrics
from api.blocklist import pubsub
from api.blocklist.models import Entry, max_access_expiry
from api.blocklist.row_cursor import Row, RowCursor, StoreReplaced
from api.redis import REDIS_ERRORS

logger = logging.getLogger(__name__)

# The time between two reads of the database, and how long one is current, in seconds.
POLL_SECONDS = 0.8
FRESH_FOR_SECONDS = 1.0
# How long the mirror is used while messages arrive and the database does not respond, in seconds.
STALE_FOR_SECONDS = 30.0
# After this time without a response the database counts as unavailable, in seconds.
READ_DEADLINE_SECONDS = 0.2
# The exported age of a mirror that was never read, in seconds.
NEVER_READ_AGE_SECONDS = 1e6
MAX_MESSAGES_PER_CHECK = 100
# Ids are removed from memory in buckets of this time, in seconds.
BUCKET_SECONDS = 300


class BlockedIds:
    """A set of ids that expire. Few buckets, so that a million ids are removed as quickly as one."""

    def __init__(self) -> None:
        self._buckets: dict[int, set[int]] = {}

    def contains_any(self, sid: int, jti: int) -> bool:
        for bucket in self._buckets.values():  # noqa: SIM110 (a generator takes twice as long)
            if sid in bucket or jti in bucket:
                return True
        return False

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def add(self, token_ids: Iterable[int], until: float) -> None:
        self._buckets.setdefault(int(until // BUCKET_SECONDS), set()).update(token_ids)

    def drop_expired(self) -> None:
        current = int(time.time() // BUCKET_SECONDS)
        for expired in [bucket for bucket in self._buckets if bucket < current]:
            del self._buckets[expired]


class RevokedBefore:
    """The cutoffs of wholesale entries: tokens of sign-ins that started before them are refused."""

    def __init__(self) -> None:
        # By user id, or None for everybody: the cutoff in milliseconds, and its expiry in seconds since 1970.
        self._by_user: dict[int | None, tuple[int, float]] = {}

    def covers(self, sid: UUID, user_id: int) -> bool:
        if not self._by_user:
            return False
        never = (0, 0.0)
        return sids.started(sid) < max(self._by_user.get(user_id, never), self._by_user.get(None, never))[0]

    def add(self, user_id: int | None, before: datetime, until: float) -> None:
        cutoff = ((before - sids.EPOCH) // sids.MILLISECOND, until)
        self._by_user[user_id] = max(cutoff, self._by_user.get(user_id, cutoff))

    def drop_expired(self) -> None:
        now = time.time()
        if any(until < now for _, until in self._by_user.values()):
            self._by_user = {user: each for user, each in self._by_user.items() if each[1] >= now}


class Mirror:
    """Checks access tokens against the blocklist in memory. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read_finished = threading.Condition(self._lock)
        self._ids = BlockedIds()
        # Lifted ids: for these, checks query the database, since they may be blocked again.
        self._lifted = BlockedIds()
        self._revoked_before = RevokedBefore()
        self._cursor = RowCursor()
        self._subscriber = pubsub.Subscriber()
        # Counts the databases that were read: what was read from an earlier one is not valid.
        self.store_number = 0
        # On the monotonic clock, in seconds.
        self._next_read = 0.0
        # Infinite while no thread reads.
        self._reading_since = math.inf
        self._last_read = -math.inf
        self._fresh_until = -math.inf
        self._invalidated_at = -math.inf

    def blocks(self, sid: UUID, jti: UUID, user_id: int) -> bool:
        """
        Whether the access token `jti` of this sign-in is refused. No statement, or one if the mirror is not current.
        Raises OperationalError if that fails.
        """
        blocked = self.blocks_if_current(sid, jti, user_id)
        return Entry.objects.blocks(sid, jti, user_id) if blocked is None else blocked

    def blocks_if_current(self, sid: UUID, token_id: UUID, user_id: int) -> bool | None:
        """
        Whether the token or session key `token_id` of this sign-in is refused; None if only the database shows that:
        the mirror is not current, or a transaction may have added entries. No statement. A sign-in that the process
        knows to have ended is refused in any case: the database may have lost its end.
        """
        if not settings.REDIS_URL or connections[DEFAULT_DB_ALIAS].in_atomic_block:
            return None
        if time.monotonic() >= self._next_read:
            self._read_if_due()
        with self._lock:
            if self._is_current() or self._is_current_after_read():
                blocked = self._ids.contains_any(sid.int, token_id.int)
                if not blocked or not self._lifted.contains_any(sid.int, token_id.int):
                    return blocked or self._revoked_before.covers(sid, user_id)
            elif self._ids.contains_any(sid.int, sid.int):
                # No token alone: its block may have been lifted since.
                return True
        metrics.database_checks.inc()
        return None

    def __len__(self) -> int:
        return len(self._ids)

    def is_current(self) -> bool:
        """Whether checks need no statement at the moment."""
        with self._lock:
            return bool(settings.REDIS_URL) and self._is_current()

    def is_without_database(self) -> bool:
        """Whether the database has not answered lately, and the mirror goes on without it (STALE_FOR_SECONDS)."""
        return FRESH_FOR_SECONDS * 2 < time.monotonic() - self._last_read < math.inf

    def _is_current(self) -> bool:
        """Receives messages first, so that a check sees every entry that was published before it."""
        return self._receive_messages() and time.monotonic() < self._fresh_until

    def _is_current_after_read(self) -> bool:
        """Waits for the read of another thread, up to READ_DEADLINE_SECONDS: an unavailable database blocks longer."""
        reading_since = self._reading_since
        deadline = reading_since + READ_DEADLINE_SECONDS
        while self._last_read > -math.inf and reading_since == self._reading_since < math.inf:
            if (seconds := deadline - time.monotonic()) <= 0:
                self._fresh_until = self._last_read + STALE_FOR_SECONDS
                break
            self._read_finished.wait(seconds)
        return self._is_current()

    def _receive_messages(self) -> bool:
        """Returns whether all messages were received."""
        subscription = self._subscriber.subscription
        if subscription is None:
            return False
        try:
            if subscription.has_messages():
                for ids, until in islice(subscription.read(), MAX_MESSAGES_PER_CHECK):
                    if ids and until > time.time():
                        # A forged time must not add buckets, which slow down each check.
                        self._ids.add(ids, min(until, max_access_expiry().timestamp()))
                    else:
                        self._invalidate()
        except REDIS_ERRORS as error:
            self._drop_subscription(error)
            return False
        return not subscription.has_unread

    def _invalidate(self) -> None:
        """Makes checks query the database until it was read again."""
        self._invalidated_at = time.monotonic()
        self._next_read = self._last_read = self._fresh_until = -math.inf

    def _drop_subscription(self, error: Exception) -> None:
        self._subscriber.drop(error)
        # Messages are lost from now on: checks query the database until it was read again.
        self._invalidated_at = time.monotonic()
        self._fresh_until = self._last_read = -math.inf

    def _read_if_due(self) -> None:
        with self._lock:
            if time.monotonic() < self._next_read or not self._ensure_subscribed():
                return
            # No other thread reads meanwhile. The lock is not held during the read.
            self._next_read = math.inf
            started = self._reading_since = time.monotonic()
        try:
            rows, more = self._cursor.read()
        except Error:
            self._handle_failed_read(started)
            return
        except StoreReplaced as error:
            self._reset_after_store_change(error.is_older)
            return
        with self._lock:
            self._apply_read(rows, more, started)

    def _ensure_subscribed(self) -> bool:
        """Returns whether there is a subscription that replied to the previous ping."""
        subscription = self._subscriber.subscription or self._subscriber.take()
        if subscription is None:
            return False
        self._receive_messages()
        try:
            subscription.ping()
        except REDIS_ERRORS as error:
            self._drop_subscription(error)
            return False
        return True

    def _apply_read(self, rows: list[Row], more: bool, started: float) -> None:
        self._ids.drop_expired()
        self._lifted.drop_expired()
        self._revoked_before.drop_expired()
        for token_id, until, before, lifted_at, kind, owner_id in rows:
            if before and (owner_id is None) == (kind == Entry.Kind.EVERYBODY):
                self._revoked_before.add(owner_id, before, until.timestamp())
            if lifted_at:
                self._lifted.add([token_id.int], until.timestamp())
        for until, same in groupby((row for row in rows if row[2] is None), key=itemgetter(1)):
            self._ids.add((row[0].int for row in same), until.timestamp())
        # A read that started before an invalidation is not enough.
        more = more or started <= self._invalidated_at
        self._next_read = -math.inf if more else started + POLL_SECONDS
        if more:
            # The database is available again and has more rows: STALE_FOR_SECONDS no longer applies.
            self._fresh_until = min(self._fresh_until, self._last_read + FRESH_FOR_SECONDS)
        else:
            self._last_read = started
            self._fresh_until = started + FRESH_FOR_SECONDS
        self._finish_read()

    def _reset_after_store_change(self, is_older: bool) -> None:
        """Blocked ids stay blocked; checks of others query the database until all of the new one was read."""
        if is_older:
            logger.error("The database has lost entries of the blocklist. %s", RUN_AFTER_RESTORE)
        else:
            logger.warning("The database was replaced or restarted; the blocklist is read again from the beginning")
        with self._lock:
            self.store_number += 1
            self._invalidate()
            self._finish_read()

    def _handle_failed_read(self, started: float) -> None:
        """Messages still arrive, so that the mirror is used for STALE_FOR_SECONDS since its last read."""
        with self._lock:
            now = time.monotonic()
            # Reads that time out use at most half of one thread's time.
            self._next_read = now + max(POLL_SECONDS, now - started)
            self._fresh_until = self._last_read + STALE_FOR_SECONDS
            self._finish_read()

    def _finish_read(self) -> None:
        self._reading_since = math.inf
        self._read_finished.notify_all()
        metrics.mirror_ids.set(len(self))
        if self._next_read > -math.inf:
            # Otherwise another read follows immediately.
            metrics.mirror_age.set(min(time.monotonic() - self._last_read, NEVER_READ_AGE_SECONDS))


mirror = Mirror()
# A child process must not share the socket and the lock of its parent.
os.register_at_fork(after_in_child=mirror.__init__)  # type: ignore[misc]
