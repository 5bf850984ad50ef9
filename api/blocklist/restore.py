"""What must not live on after the database was restored from a backup."""

from collections.abc import Iterator

from django.core.management.color import no_style
from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone

from accounts import ending, sids
from accounts.models import SignIn
from api.blocklist.models import Entry, StatusIndex
from api.blocklist.store import Store

# More places of the status list than were given since any backup: eight lists, of a million sign-ins each.
PLACES_SKIPPED = 2**23


def end_restored_sign_ins(reason: str) -> Iterator[int]:
    """
    Ends all sign-ins up to now: those of the backup may have ended or refreshed since, and those since are not in it.
    From the first step on no token or session works, and a refresh token of before is refused without being taken for
    stolen. Yields how many each step ended.
    """
    with transaction.atomic():
        Store.objects.renew()
        below = _skip_places()
        Entry.objects.block_all(sids.just_after(timezone.now()), places_below=below)
    yield 0
    yield from ending.end_everything(reason)


def _skip_places() -> int:
    """Gives up the places that may be in tokens out there. Returns the first that is given from now on."""
    in_rows = SignIn.objects.aggregate(latest=Max("status_index"))["latest"] or 0
    latest = max(StatusIndex.objects.latest_index(), in_rows) + PLACES_SKIPPED
    StatusIndex.objects.create(pk=latest)
    with connection.cursor() as cursor:
        # PostgreSQL's sequence does not follow an id that was given.
        for statement in connection.ops.sequence_reset_sql(no_style(), [StatusIndex]):
            cursor.execute(statement)
    return latest + 1
