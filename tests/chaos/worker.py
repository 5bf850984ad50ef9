"""
python -m tests.chaos.worker: for tests only, `manage.py db_worker` with failpoints, without quotas of notices, and with
shorter waits.
"""

import sys
from datetime import timedelta

import django
from django.core.mail.backends.smtp import EmailBackend
from django.core.management import call_command

from tests.chaos.failpoints import dies_at, lift_quotas

# After it, the mails of a killed worker are taken. Longer than a session with a slow mail server.
LEASE = timedelta(seconds=30)
# No mail server of the tests scans for longer.
DATA_SECONDS = 10.0


def main() -> None:
    django.setup()
    from accounts import delivery
    from accounts.models import mails

    delivery.DATA_SECONDS = DATA_SECONDS
    mails.LEASE = LEASE
    EmailBackend.send_messages = dies_at("before a mail is sent", EmailBackend.send_messages)
    EmailBackend.send_messages = dies_at("after a mail was sent", EmailBackend.send_messages, after=True)
    lift_quotas()
    call_command("db_worker", *sys.argv[1:])


if __name__ == "__main__":
    main()
