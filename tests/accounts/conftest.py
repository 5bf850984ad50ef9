from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from accounts import mail

LONG_AGO = timedelta(minutes=16)


@pytest.fixture
def clock():
    """A clock that stands still until a test moves it."""
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False) as traveller:
        yield traveller


@pytest.fixture
def mails_of(mailoutbox, django_capture_on_commit_callbacks):
    """The mails that leave while a piece of work is done."""

    def run(work):
        mailoutbox.clear()
        with django_capture_on_commit_callbacks(execute=True):
            work()
        mail.wait()
        return list(mailoutbox)

    return run
