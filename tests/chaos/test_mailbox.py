"""The mail server of the fault run records each mail that it receives."""

from collections.abc import Iterator
from smtplib import SMTPRecipientsRefused, SMTPServerDisconnected
from typing import Any

import pytest
from django.core.mail import EmailMessage

from accounts.notices import NOTICES
from tests.chaos.mail_rules import ALARMS
from tests.chaos.mailbox import KIND_OF, Mailbox
from tests.mail_server import use_server


@pytest.fixture
def mailbox(settings: Any) -> Iterator[Mailbox]:
    with Mailbox().running() as running:
        use_server(settings, running.proxy.port, timeout_seconds=5)
        yield running


def send() -> None:
    text = "Hello person3,\n\nIP address: 10.0.0.1\n"
    EmailMessage("We signed out one of your apps", text, to=["person3@example.org"]).send()


def test_a_mail_is_recorded_with_what_the_checker_needs(mailbox: Mailbox) -> None:
    send()
    [letter] = mailbox.letters
    assert (letter.kind, letter.to, letter.header_to) == ("token_reused", "person3@example.org", "person3@example.org")
    assert (letter.names, letter.ip_addresses) == ({"person3"}, {"10.0.0.1"})
    assert letter.id


def test_a_refused_mail_is_not_recorded(mailbox: Mailbox) -> None:
    mailbox.refuses = True
    with pytest.raises(SMTPRecipientsRefused):
        send()
    assert mailbox.letters == []


def test_a_mail_without_a_reply_is_recorded(mailbox: Mailbox) -> None:
    mailbox.drops_replies = True
    with pytest.raises(SMTPServerDisconnected):
        send()
    assert len(mailbox.letters) == 1


def test_a_mail_server_that_is_away_returns(mailbox: Mailbox) -> None:
    mailbox.stop()
    with pytest.raises(OSError, match=r"."):
        send()
    mailbox.start()
    send()
    assert len(mailbox.letters) == 1


def test_each_alarm_is_a_notice_with_a_known_subject() -> None:
    assert {NOTICES[each].template for each in ALARMS} == set(ALARMS)
    assert set(ALARMS) <= set(KIND_OF.values())
