"""manage.py after_restore: ends all sign-ins after a restore from a backup."""

from typing import Any

from django.core.management.base import BaseCommand
from tqdm import tqdm

from accounts.http import request_context
from accounts.models import SignIn
from api.blocklist.restore import end_restored_sign_ins

REASON_TEXT = "The database was restored from a backup."
CHANGES_TO_CHECK = """
Changes since the backup are not in this database. Check them in your logs and in the reports of users:
  - Passwords and addresses that were changed since have their old values. If passwords leaked, reset them.
  - Users who were deactivated, demoted or deleted since are active, have their permissions, or exist again.
  - Users who signed up since do not exist, and their names are available.
  - Links in mails that were used since work again, until an hour after they were sent.
  - Security events and attempt counters since are lost.
"""


class Command(BaseCommand):
    help = (
        "Run it once after the database was restored from a backup, before clients connect again. It ends all sign-ins,"
        " in both modes, without mails, since revocations and refreshes since the backup are unknown. Each process then"
        " reads the blocklist again. Can be stopped and repeated."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        ended = 0
        with (
            request_context.acting(REASON_TEXT),
            tqdm(total=SignIn.objects.unended().count(), unit="", disable=None) as bar,
        ):
            for number in end_restored_sign_ins(SignIn.Reason.ENDED_BY_STAFF):
                ended += number
                bar.update(number)
        self.stdout.write(f"{ended} sign-ins ended. All users have to sign in again.")
        self.stdout.write(CHANGES_TO_CHECK.rstrip())
