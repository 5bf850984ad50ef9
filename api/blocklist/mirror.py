"""
The blocklist in this process's memory, so that a check costs no SQL and no network.

Redis tells what was just blocked; the mirror looks at that socket before every answer. The database is read once a
second as well, so that a lost message costs at most that second. Whenever the subscription is not known to be good, or
the mirror does not hold everything yet, the check asks the database instead.
"""

import logging
import math
import os
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby, islice
from operator import itemgetter
from uuid import UUID

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.models import Q
from django.utils import timezone

from accounts import sids
from api import metrics
from api.blocklist import news
from api.blocklist.models import Entry, last_expiry
from api.blocklist.stores import Mark, read_marked

logger = logging.getLogger(__name__)

# An entry: its token_id, until when it is kept, before which moment the sign-ins started that it concerns, when it was
# lifted, its kind, and whose sign-ins it concerns.
Row = tuple[UUID, datetime, datetime | None, datetime | None, str, int | None]
# The first and last id that were skipped, and when that was noticed.
Gap = tuple[int, int, float]

# Between two looks at the database, and how long one is good for, in seconds: a lost message costs less than a second.
READ_EVERY = 0.8
BELIEVED_FOR = 1.0
# How long the mirror is believed while the news comes in and the database does not answer, in seconds.
TRUSTED_FOR = 30.0
# A read of the database that takes longer says that it is out of reach, for the time being, in seconds.
ANSWERS_WITHIN = 0.2
# The age of a mirror that was never read, as Prometheus is told it, in seconds.
NEVER = 1e6
# At once from the database: some 10 ms. A longer list is loaded over several checks, which ask the database meanwhile.
ROWS_PER_READ = 2_000
MESSAGES_PER_CHECK = 100
# Ids leave memory by the bucketful, in seconds.
BUCKET = 300
# How long a missing row may still appear, in seconds: longer than any transaction that blocks.
GAP_KEPT = 300.0
GAPS_KEPT = 50


class BlockedIds:
    """A set of ids, each until a time. Few buckets, so that a million of them go as quickly as one."""

    def __init__(self) -> None:
        self._buckets: dict[int, set[int]] = {}

    def have_either(self, sid: int, jti: int) -> bool:
        for bucket in self._buckets.values():  # noqa: SIM110 (a generator takes twice as long)
            if sid in bucket or jti in bucket:
                return True
        return False

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def add(self, token_ids: Iterable[int], until: float) -> None:
        self._buckets.setdefault(int(until // BUCKET), set()).update(token_ids)

    def forget_expired(self) -> None:
        current = int(time.time() // BUCKET)
        for expired in [bucket for bucket in self._buckets if bucket < current]:
            del self._buckets[expired]


class Moments:
    """Before which moment sign-ins started, a user's or (None) everybody's, of which all tokens are refused."""

    def __init__(self) -> None:
        # In milliseconds, and until when it is kept, in seconds.
        self._of_user: dict[int | None, tuple[int, float]] = {}

    def have(self, sid: UUID, user_id: int) -> bool:
        if not self._of_user:
            return False
        never = (0, 0.0)
        return sids.started(sid) < max(self._of_user.get(user_id, never), self._of_user.get(None, never))[0]

    def add(self, user_id: int | None, before: datetime, until: float) -> None:
        moment = ((before - sids.EPOCH) // sids.MILLISECOND, until)
        self._of_user[user_id] = max(moment, self._of_user.get(user_id, moment))

    def forget_expired(self) -> None:
        now = time.time()
        if any(until < now for _, until in self._of_user.values()):
            self._of_user = {user: each for user, each in self._of_user.items() if each[1] >= now}


class StoreReplaced(Exception):
    """The rows are those of another database than before."""


class UnreadRows:
    """
    Which row ids may hold what was not read yet: all beyond the last one, and those that were skipped. Rows become
    visible in the order of their commits and not of their ids, so that a skipped one may be on its way.
    """

    def __init__(self) -> None:
        self._last = 0
        self._gaps: list[Gap] = []
        # More than one read's worth lies beyond the last one.
        self._is_behind = False
        self._mark: Mark | None = None

    def read(self) -> tuple[list[Row], bool]:
        """
        The unexpired ones that are visible now, and whether there are more. One statement. Raises StoreReplaced, and
        then begins anew.
        """
        now = time.monotonic()
        was_behind = self._is_behind
        where = Q(id__gt=self._last) if was_behind else self._all_unread()
        unexpired = Entry.objects.filter(where, until__gt=timezone.now())
        fields = ("id", "token_id", "until", "before", "lifted_at", "kind", "owner_id")
        mark, rows = read_marked(unexpired.order_by("id").values_list(*fields)[:ROWS_PER_READ])
        earlier, self._mark = self._mark, mark
        if earlier and mark.is_of_another_than(earlier):
            self._last, self._gaps, self._is_behind = 0, [], False
            raise StoreReplaced
        self._note([row[0] for row in rows], now, was_behind)
        self._is_behind = len(rows) == ROWS_PER_READ
        return [row[1:] for row in rows], was_behind or self._is_behind

    def _all_unread(self) -> Q:
        """
        Not while much lies ahead: for a choice like this PostgreSQL would go through the table from its beginning, for
        each read anew.
        """
        # Those that were lifted come each time: they are few, and when one was lifted tells nothing of its commit.
        where = Q(id__gt=self._last) | Q(lifted_at__isnull=False)
        for first, last, _noticed in self._gaps:
            where |= Q(id__range=(first, last))
        return where

    def _note(self, ids: list[int], now: float, was_behind: bool) -> None:
        # A gap that was read once more by now, however long ago it was noticed: only then may it be given up.
        awaited = [gap for gap in self._gaps if was_behind or now - gap[2] < GAP_KEPT]
        last = max([self._last, *ids[-1:]])
        spans = [*awaited, (self._last + 1, last, now)]
        self._gaps = [gap for span in spans for gap in _without(span, ids)]
        self._last = last
        if len(self._gaps) > GAPS_KEPT:
            # One span over all of them is read in one go, with what lies between.
            self._gaps = [(self._gaps[0][0], self._gaps[-1][1], now)]


def _without(span: Gap, ids: list[int]) -> Iterator[Gap]:
    """The parts of a span that none of the ids, in order, fills."""
    first, last, noticed = span
    for each in ids[bisect_left(ids, first) : bisect_right(ids, last)]:
        if first < each:
            yield first, each - 1, noticed
        first = each + 1
    if first <= last:
        yield first, last, noticed


class Mirror:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read_is_over = threading.Condition(self._lock)
        self._ids = BlockedIds()
        # Blocked once and lifted; whether they were blocked again, the database knows.
        self._lifted = BlockedIds()
        self._moments = Moments()
        self._unread = UnreadRows()
        self._subscriber = news.Subscriber()
        # On the monotonic clock, in seconds.
        self._next_read = 0.0
        # Infinite while nobody reads.
        self._reads_since = math.inf
        self._last_read = -math.inf
        self._believed_until = -math.inf
        self._doubted_at = -math.inf

    def blocks(self, sid: UUID, jti: UUID, user_id: int) -> bool:
        """
        Whether an access token of this sign-in of this user with this id is refused. No statement, or one where the
        mirror is not known to be current; raises OperationalError where that cannot be asked.
        """
        # Inside a transaction only the database knows what the transaction itself has blocked.
        if settings.REDIS_URL and not connections[DEFAULT_DB_ALIAS].in_atomic_block:
            if time.monotonic() >= self._next_read:
                self._read_if_due()
            with self._lock:
                if self._is_current() or self._is_current_after_read():
                    blocked = self._ids.have_either(sid.int, jti.int)
                    if not blocked or not self._lifted.have_either(sid.int, jti.int):
                        return blocked or self._moments.have(sid, user_id)
            metrics.database_checks.inc()
        return Entry.objects.blocks(sid, jti, user_id)

    def __len__(self) -> int:
        return len(self._ids)

    def is_current(self) -> bool:
        """Whether checks cost no statement just now."""
        with self._lock:
            return bool(settings.REDIS_URL) and self._is_current()

    def _is_current(self) -> bool:
        """Takes in the news first: what Redis has announced is seen by the next check."""
        return self._take_in_news() and time.monotonic() < self._believed_until

    def _is_current_after_read(self) -> bool:
        """
        Waits for another thread's read, if there is one, but only for a moment: whoever asks a database that has gone
        silent waits for long.
        """
        reads_since = self._reads_since
        answers_until = reads_since + ANSWERS_WITHIN
        while self._last_read > -math.inf and reads_since == self._reads_since < math.inf:
            if (seconds := answers_until - time.monotonic()) <= 0:
                self._believed_until = self._last_read + TRUSTED_FOR
                break
            self._read_is_over.wait(seconds)
        return self._is_current()

    def _take_in_news(self) -> bool:
        """Whether all of it was taken in."""
        subscription = self._subscriber.subscription
        if subscription is None:
            return False
        try:
            if subscription.has_news():
                for ids, until in islice(subscription.read(), MESSAGES_PER_CHECK):
                    if ids and until > time.time():
                        # No further than any process may say: more buckets would slow each check.
                        self._ids.add(ids, min(until, last_expiry().timestamp()))
                    else:
                        self._doubt()
        except news.TROUBLE as error:
            self._drop_subscription(error)
            return False
        return not subscription.has_unread

    def _doubt(self) -> None:
        """There is something that only the database tells: nothing is believed that was read before, however long."""
        self._doubted_at = time.monotonic()
        self._next_read = self._last_read = self._believed_until = -math.inf

    def _drop_subscription(self, error: Exception) -> None:
        self._subscriber.drop(error)
        # What is announced from now on is missed: nothing is believed until the database was read once more, from the
        # beginning.
        self._doubted_at = time.monotonic()
        self._believed_until = self._last_read = -math.inf

    def _read_if_due(self) -> None:
        with self._lock:
            if time.monotonic() < self._next_read or not self._is_subscribed():
                return
            # Nobody else reads meanwhile; the lock is not held while the database is asked.
            self._next_read = math.inf
            started = self._reads_since = time.monotonic()
        try:
            rows, more = self._unread.read()
        except Error:
            self._note_failed_read(started)
            return
        except StoreReplaced:
            self._note_another_store()
            return
        with self._lock:
            self._note_read(rows, more, started)

    def _is_subscribed(self) -> bool:
        """Whether there is a subscription that answered since the last time this was asked."""
        subscription = self._subscriber.subscription or self._subscriber.open()
        if subscription is None:
            return False
        self._take_in_news()
        try:
            subscription.check()
        except news.TROUBLE as error:
            self._drop_subscription(error)
            return False
        return True

    def _note_read(self, rows: list[Row], more: bool, started: float) -> None:
        self._ids.forget_expired()
        self._lifted.forget_expired()
        self._moments.forget_expired()
        for token_id, until, before, lifted_at, kind, owner_id in rows:
            if before and (owner_id is None) == (kind == Entry.Kind.EVERYBODY):
                self._moments.add(owner_id, before, until.timestamp())
            if lifted_at:
                self._lifted.add([token_id.int], until.timestamp())
        for until, same in groupby((row for row in rows if row[2] is None), key=itemgetter(1)):
            self._ids.add((row[0].int for row in same), until.timestamp())
        # Doubt that came up meanwhile is not settled by it.
        more = more or started <= self._doubted_at
        self._next_read = -math.inf if more else started + READ_EVERY
        if more:
            # It answers again, and knows more: what it was trusted for while it was silent is over.
            self._believed_until = min(self._believed_until, self._last_read + BELIEVED_FOR)
        else:
            self._last_read = started
            self._believed_until = started + BELIEVED_FOR
        self._note_end_of_read()

    def _note_another_store(self) -> None:
        """What is known stays blocked; nothing else is believed until all of the other was read."""
        logger.warning("The blocklist is of another database, or of one that was restarted: it is read anew")
        with self._lock:
            self._doubt()
            self._note_end_of_read()

    def _note_failed_read(self, started: float) -> None:
        """The news still comes in, so that what is known is believed for a while, without waiting for the next read."""
        with self._lock:
            now = time.monotonic()
            # A read that waits for its time-out takes up at most half of one thread.
            self._next_read = now + max(READ_EVERY, now - started)
            self._believed_until = self._last_read + TRUSTED_FOR
            self._note_end_of_read()

    def _note_end_of_read(self) -> None:
        self._reads_since = math.inf
        self._read_is_over.notify_all()
        metrics.mirror_ids.set(len(self))
        if self._next_read > -math.inf:
            # Else another read follows at once.
            metrics.mirror_age.set(min(time.monotonic() - self._last_read, NEVER))


mirror = Mirror()
# Neither a socket nor a lock is shared with a parent process.
os.register_at_fork(after_in_child=mirror.__init__)  # type: ignore[misc]
