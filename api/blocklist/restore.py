"""Refuses all tokens and sessions after the database was restored from a backup."""

from django.core.management.color import no_style
from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone

from accounts import restored, sids
from accounts.models import SignIn
from accounts.models.restores import skip_ids
from api.blocklist.models import Entry, StatusIndex
from api.blocklist.store import Store

# More status indexes than were assigned since any backup: eight lists, of a million sign-ins each.
SKIPPED_INDEXES = 2**23


def refuse_everything() -> restored.Found:
    """
    Refuses all that was issued up to now: sign-ins of the backup may have ended or refreshed since, and later ones are
    not in it. An earlier refresh token is refused without an event `token_reused`. Can be repeated.
    ending.end_everything() then ends the rows.
    """
    with transaction.atomic():
        Store.objects.renew()
        # Mirrors have read entries that the database has lost.
        skip_ids("blocklist_entry")
        below = _skip_indexes()
        Entry.objects.block_all(sids.just_after(timezone.now()), places_below=below)
    return restored.refuse_what_was_used()


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
