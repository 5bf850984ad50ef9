"""
Reads the events that were not sent yet, also those that are committed after events with higher ids: an id is assigned
before its transaction commits.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Q

from accounts.models import EventReceiver, SecurityEvent

MAX_EVENTS = 500
# With more gaps, only these are read until transactions have ended.
MAX_GAPS = 500
# An INSERT holds this lock on its table before the id is assigned, and until its transaction has ended.
WRITERS = """
SELECT DISTINCT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND granted AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock')
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND relation = %s::regclass AND pid IS DISTINCT FROM pg_backend_pid()
"""
# The first and the last missing id, and the transactions that may have them.
Gap = list[Any]


class Batch(NamedTuple):
    """Events in the order of their ids, and the state of the receiver once they are sent."""

    events: list[SecurityEvent]
    last_id: int
    gaps: list[Gap]
    has_more: bool


def read(receiver: EventReceiver, limit: int = MAX_EVENTS) -> Batch:
    """
    Returns the next events, at most `limit`. One statement, one more if there are gaps, and one more for new gaps. The
    isolation level must be READ COMMITTED.
    """
    known: list[Gap] = receiver.gaps
    # In this order: if a transaction has ended by now, the next statement reads its events.
    writers = _writers() if known else set()
    events = list(SecurityEvent.objects.filter(_unsent(receiver)).order_by("pk")[:limit])
    ids = [event.pk for event in events]
    has_more = len(ids) == limit
    last_id = max([receiver.last_id, *ids[-1:]])
    gaps = list(_waiting(known, ids, writers, read_to=ids[-1] if has_more else last_id))
    missing = list(_missing(receiver.last_id + 1, last_id, ids))
    # SQLite has one writer at a time: ids are committed in their order.
    if missing and connection.vendor == "postgresql":
        # In this order: a transaction that has ended before is noticed at the next call.
        holders = sorted(_writers())
        gaps += [[first, last, holders] for first, last in missing]
    return Batch(events, last_id, gaps, has_more)


def _unsent(receiver: EventReceiver) -> Q:
    is_new = Q(pk__gt=receiver.last_id)
    if not receiver.gaps:
        return is_new
    where = Q(pk__in=[]) if len(receiver.gaps) >= MAX_GAPS else is_new
    for first, last, _holders in receiver.gaps:
        where |= Q(pk__range=(first, last))
    # PostgreSQL would scan the table from its start.
    return Q(pk__gte=receiver.gaps[0][0]) & where


def _waiting(gaps: list[Gap], ids: list[int], writers: set[str], read_to: int) -> Iterator[Gap]:
    """The parts of the gaps that a transaction may still fill, or that were not read."""
    for first, last, holders in gaps:
        if last > read_to:
            yield from ([a, b, holders] for a, b in _missing(first, last, ids))
        elif left := sorted(writers.intersection(holders)):
            yield from ([a, b, left] for a, b in _missing(first, last, ids))


def _missing(first: int, last: int, ids: list[int]) -> Iterator[tuple[int, int]]:
    """The parts of a range without any of the ids, which are sorted."""
    for each in ids:
        if first <= each <= last:
            if first < each:
                yield first, each - 1
            first = each + 1
    if first <= last:
        yield first, last


def _writers() -> set[str]:
    """The transactions that may have inserted events."""
    with connection.cursor() as cursor:
        cursor.execute(WRITERS, [SecurityEvent._meta.db_table])
        return {virtual_id for (virtual_id,) in cursor.fetchall()}


def newest_id() -> int:
    """The id of the newest event; 0 if there is none. One statement."""
    newest: Any = SecurityEvent.objects.order_by("-pk").values_list("pk", flat=True).first()
    return newest or 0
