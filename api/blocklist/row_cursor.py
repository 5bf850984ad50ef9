"""A cursor that reads from the database the blocklist entries that a process has not read yet."""

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from api.blocklist.models import Entry
from api.blocklist.store import MarkedRows, StoreMark

# The fields of an entry: token_id, until, before, lifted_at, kind, owner_id.
Row = tuple[UUID, datetime, datetime | None, datetime | None, str, int | None]
# The first and the last missing id, and when they were noticed, on the monotonic clock.
Gap = tuple[int, int, float]

# About 10 ms. A longer list is loaded by several checks, which query the database meanwhile.
MAX_ROWS_PER_READ = 2_000
# How long a missing row may still be committed, in seconds: longer than any transaction that blocks.
MAX_GAP_SECONDS = 300.0
MAX_GAPS = 50


class StoreReplaced(Exception):
    """The database is not the one that the cursor has read before; `is_older`: it has lost entries since."""

    def __init__(self, is_older: bool) -> None:
        super().__init__()
        self.is_older = is_older


class RowCursor:
    """
    The ids of rows that may be unread: all after the last one, and the gaps before it. Rows become visible in the order
    of their commits, not of their ids, so that a missing row may follow.
    """

    def __init__(self) -> None:
        self._last = 0
        self._gaps: list[Gap] = []
        # There are more rows than one read returns.
        self._is_behind = False
        self._mark: StoreMark | None = None

    def read(self) -> tuple[list[Row], bool]:
        """
        Returns the unread rows that have not expired, and whether there are more. One statement. Raises StoreReplaced;
        the next read then starts from the first row.
        """
        now = time.monotonic()
        was_behind = self._is_behind
        where = Q(id__gt=self._last) if was_behind else self._unread_filter()
        unexpired = Entry.objects.filter(where, until__gt=timezone.now())
        fields = ("id", "token_id", "until", "before", "lifted_at", "kind", "owner_id")
        mark, rows = MarkedRows(unexpired.order_by("id").values_list(*fields)[:MAX_ROWS_PER_READ]).read()
        previous, self._mark = self._mark, mark
        if previous and mark.differs_from(previous):
            self._last, self._gaps, self._is_behind = 0, [], False
            raise StoreReplaced(mark.has_lost_ids_of(previous))
        self._advance([row[0] for row in rows], now, was_behind)
        self._is_behind = len(rows) == MAX_ROWS_PER_READ
        return [row[1:] for row in rows], was_behind or self._is_behind

    def _unread_filter(self) -> Q:
        """Not used while many rows are unread: PostgreSQL would scan the table from its start for this condition."""
        # Lifted rows are read each time: they are few, and `lifted_at` is not the time of the commit.
        where = Q(id__gt=self._last) | Q(lifted_at__isnull=False)
        for first, last, _noticed in self._gaps:
            where |= Q(id__range=(first, last))
        return where

    def _advance(self, ids: list[int], now: float, was_behind: bool) -> None:
        # A gap is dropped only after it was read once more, however old it is.
        awaited = [gap for gap in self._gaps if was_behind or now - gap[2] < MAX_GAP_SECONDS]
        last = max([self._last, *ids[-1:]])
        spans = [*awaited, (self._last + 1, last, now)]
        self._gaps = [gap for span in spans for gap in _remaining_gaps(span, ids)]
        self._last = last
        if len(self._gaps) > MAX_GAPS:
            # One span over all gaps, with the rows between them, is one condition.
            self._gaps = [(self._gaps[0][0], self._gaps[-1][1], now)]


def _remaining_gaps(span: Gap, ids: list[int]) -> Iterator[Gap]:
    """The parts of a span without any of the ids, which are sorted."""
    first, last, noticed = span
    for each in ids[bisect_left(ids, first) : bisect_right(ids, last)]:
        if first < each:
            yield first, each - 1, noticed
        first = each + 1
    if first <= last:
        yield first, last, noticed
