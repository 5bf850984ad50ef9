from typing import Any

from django.core.management.base import BaseCommand
from tqdm import tqdm

from accounts.http import request_context
from accounts.models import SignIn
from api.blocklist.restore import end_restored_sign_ins

WHY = "The database was restored from a backup."
UNKNOWN = """
What happened since the backup is not in this database. Check it by hand, from your logs and from what people report:
  - Passwords and addresses that were changed since are the old ones again. If passwords leaked, reset them.
  - Users who were deactivated, demoted or deleted since are active, have their rights, or exist again.
  - Users who signed up since are gone, and their names are free.
  - Links in mails that were used since work again, for an hour from when they were sent.
  - Security events and locks since are gone.
"""


class Command(BaseCommand):
    help = (
        "To be run once after the database was restored from a backup, before clients come back. Ends all sign-ins, in"
        " both modes, without mails: what ended or was refreshed since the backup is unknown. Makes each process read"
        " the blocklist anew. May be stopped and repeated."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        ended = 0
        with request_context.acting(WHY), tqdm(total=SignIn.objects.unended().count(), unit="", disable=None) as bar:
            for number in end_restored_sign_ins(SignIn.Reason.ENDED_BY_STAFF):
                ended += number
                bar.update(number)
        self.stdout.write(f"{ended} sign-ins ended. Everyone signs in again.")
        self.stdout.write(UNKNOWN.rstrip())
