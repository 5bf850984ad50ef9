"""manage.py after_restore: ends all sign-ins after a restore from a backup, and prints what has to be checked."""

from typing import Any

from django.core.management.base import BaseCommand
from tqdm import tqdm

from accounts import ending
from accounts.http import request_context
from accounts.models import SignIn
from accounts.models.restores import RESTORED
from accounts.restored import Found
from api.blocklist.restore import refuse_everything

CHANGES_TO_CHECK = """
Changes since {since} are not in this database. Find them in the logs, and in a copy of the database that was
replaced. Then do them again:
  - Passwords and e-mail addresses that were changed have their old values. If passwords leaked, reset them.
  - Users who were deactivated, demoted or deleted are active, have their permissions, or exist again.
  - Users who signed up do not exist, and their names are available.
  - Second factors and recovery codes that were removed or used work again. Those that were added are missing: a user
    who added the first one signs in by the password alone.
  - Removals of second factors that staff requested were stopped ({stopped}). Request them again.
  - Service accounts that lost scopes or the duty to bind tokens have the old ones.
  - Security events and counters of guesses are lost. Mails that were queued are sent again.
  - Keys in JWT_KEYS that were retired must not be restored with the files.
"""
LAST_EVENT = "{:%Y-%m-%d %H:%M:%S} UTC, the last security event,"


class Command(BaseCommand):
    help = (
        "Run it once after the database was restored from a backup, before clients connect again. It ends all sign-ins,"
        " in both modes, without mails, since revocations and refreshes since the backup are unknown. Links, codes and"
        " steps that were issued before are refused, and ids that were assigned since are not assigned again. Each"
        " process then reads the blocklist again. Can be stopped and repeated."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        with request_context.acting(RESTORED):
            found = refuse_everything()
            ended = self._end_rows()
        self.stdout.write(f"{ended} sign-ins ended. All users have to sign in again.")
        self.stdout.write(changes_to_check(found).rstrip())

    def _end_rows(self) -> int:
        ended = 0
        with tqdm(total=SignIn.objects.unended().count(), unit="", disable=None) as bar:
            for number in ending.end_everything(SignIn.Reason.ENDED_BY_STAFF):
                ended += number
                bar.update(number)
        return ended


def changes_to_check(found: Found) -> str:
    since = LAST_EVENT.format(found.last_event_at) if found.last_event_at else "the backup"
    return CHANGES_TO_CHECK.format(since=since, stopped=found.stopped_removals)
