"""Reads from the database the blocklist entries that a process has not read yet."""

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from api.blocklist.models import Entry
from api.blocklist.store import StoreMark, read_with_mark

# An entry: its token_id, until when it is kept, before which moment the sign-ins started that it concerns, when it was
# lifted, its kind, and whose sign-ins it concerns.
Row = tuple[UUID, datetime, datetime | None, datetime | None, str, int | None]
# The first and last id that were skipped, and when that was noticed.
Gap = tuple[int, int, float]

# At once from the database: some 10 ms. A longer list is loaded over several checks, which ask the database meanwhile.
MAX_ROWS_PER_READ = 2_000
# How long a missing row may still appear, in seconds: longer than any transaction that blocks.
MAX_GAP_SECONDS = 300.0
MAX_GAPS = 50


class StoreReplaced(Exception):
    """The rows are those of another database than before."""


class RowCursor:
    """
    Which row ids may hold what was not read yet: all beyond the last one, and those that were skipped. Rows become
    visible in the order of their commits and not of their ids, so that a skipped one may be on its way.
    """

    def __init__(self) -> None:
        self._last = 0
        self._gaps: list[Gap] = []
        # More than one read's worth lies beyond the last one.
        self._is_behind = False
        self._mark: StoreMark | None = None

    def read(self) -> tuple[list[Row], bool]:
        """
        The unexpired ones that are visible now, and whether there are more. One statement. Raises StoreReplaced, and
        then begins anew.
        """
        now = time.monotonic()
        was_behind = self._is_behind
        where = Q(id__gt=self._last) if was_behind else self._unread_filter()
        unexpired = Entry.objects.filter(where, until__gt=timezone.now())
        fields = ("id", "token_id", "until", "before", "lifted_at", "kind", "owner_id")
        mark, rows = read_with_mark(unexpired.order_by("id").values_list(*fields)[:MAX_ROWS_PER_READ])
        earlier, self._mark = self._mark, mark
        if earlier and mark.differs_from(earlier):
            self._last, self._gaps, self._is_behind = 0, [], False
            raise StoreReplaced
        self._advance([row[0] for row in rows], now, was_behind)
        self._is_behind = len(rows) == MAX_ROWS_PER_READ
        return [row[1:] for row in rows], was_behind or self._is_behind

    def _unread_filter(self) -> Q:
        """
        Not while much lies ahead: for a choice like this PostgreSQL would go through the table from its beginning, for
        each read anew.
        """
        # Those that were lifted come each time: they are few, and when one was lifted tells nothing of its commit.
        where = Q(id__gt=self._last) | Q(lifted_at__isnull=False)
        for first, last, _noticed in self._gaps:
            where |= Q(id__range=(first, last))
        return where

    def _advance(self, ids: list[int], now: float, was_behind: bool) -> None:
        # A gap that was read once more by now, however long ago it was noticed: only then may it be given up.
        awaited = [gap for gap in self._gaps if was_behind or now - gap[2] < MAX_GAP_SECONDS]
        last = max([self._last, *ids[-1:]])
        spans = [*awaited, (self._last + 1, last, now)]
        self._gaps = [gap for span in spans for gap in _remaining_gaps(span, ids)]
        self._last = last
        if len(self._gaps) > MAX_GAPS:
            # One span over all of them is read in one go, with what lies between.
            self._gaps = [(self._gaps[0][0], self._gaps[-1][1], now)]


def _remaining_gaps(span: Gap, ids: list[int]) -> Iterator[Gap]:
    """The parts of a span that none of the ids, in order, fills."""
    first, last, noticed = span
    for each in ids[bisect_left(ids, first) : bisect_right(ids, last)]:
        if first < each:
            yield first, each - 1, noticed
        first = each + 1
    if first <= last:
        yield first, last, noticed
