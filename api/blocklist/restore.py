"""Ends all sign-ins after the database was restored from a backup."""

from collections.abc import Iterator

from django.core.management.color import no_style
from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone

from accounts import ending, sids
from accounts.models import SignIn
from api.blocklist.models import Entry, StatusIndex
from api.blocklist.store import Store

# More status indexes than were assigned since any backup: eight lists, of a million sign-ins each.
SKIPPED_INDEXES = 2**23


def end_restored_sign_ins(reason: str) -> Iterator[int]:
    """
    Ends all sign-ins up to now: those of the backup may have ended or refreshed since, and later ones are not in it.
    From the first step on no token or session works, and an earlier refresh token is refused without an event
    `token_reused`. Yields the number that each step ended.
    """
    with transaction.atomic():
        Store.objects.renew()
        below = _skip_indexes()
        Entry.objects.block_all(sids.just_after(timezone.now()), places_below=below)
    yield 0
    yield from ending.end_everything(reason)


def _skip_indexes() -> int:
    """Skips the status indexes that issued tokens may contain. Returns the first index that is assigned from now on."""
    in_rows = SignIn.objects.aggregate(latest=Max("status_index"))["latest"] or 0
    latest = max(StatusIndex.objects.latest_index(), in_rows) + SKIPPED_INDEXES
    StatusIndex.objects.create(pk=latest)
    with connection.cursor() as cursor:
        # PostgreSQL's sequence does not advance when a row is inserted with its id.
        for statement in connection.ops.sequence_reset_sql(no_style(), [StatusIndex]):
            cursor.execute(statement)
    return latest + 1
