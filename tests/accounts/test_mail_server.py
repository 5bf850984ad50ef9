"""Failures of the mail server: unavailable, refusing, silent or without TLS. Mails wait, or fail; no request waits."""

import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from accounts import mail
from accounts.models import AttemptCounter, QueuedMail, User
from accounts.rate_limits import LIMITS, Kind
from tests import servers
from tests.conftest import Browser, send_mails
from tests.mail_server import MailServer, use_server

pytestmark = pytest.mark.django_db

RESET = "/accounts/password_reset/"
RESET_AT_THE_API = "/api/password/reset/"
UNAVAILABLE = "The mail server is unavailable, and mails wait in the queue: "


@pytest.fixture(autouse=True)
def port(settings: Any) -> int:
    """The port of a mail server that is not started yet."""
    port = servers.free_port()
    use_server(settings, port)
    return port


@pytest.fixture
def ask_for_reset(ann: Any) -> Callable[[], None]:
    def ask() -> None:
        AttemptCounter.objects.all().delete()
        assert Browser().post(RESET, {"email": ann.email}).status_code == 302

    return ask


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caplog.set_level(logging.INFO, "accounts")
    yield caplog
    assert "/accounts/reset/" not in caplog.text


def said(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.name.startswith("accounts.mail")]


def errors(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.levelno >= logging.ERROR]


def send_after(**time_passed: float) -> None:
    """Sends the mails that are due after this time."""
    with time_machine.travel(timezone.now() + timedelta(**time_passed)):
        send_mails()


# The server is unavailable


def test_a_mail_is_sent_when_the_server_returns(ask_for_reset: Any, port: int) -> None:
    server = MailServer()
    ask_for_reset()
    send_mails()
    with server.running(port):
        send_mails()
    assert "/accounts/reset/" in server.letters[0].content.decode()
    assert server.letters[0].rcpt_tos == ["ann@example.org"]
    assert not QueuedMail.objects.exists()


def test_an_outage_is_one_line_of_the_log(ask_for_reset: Any, log: Any) -> None:
    ask_for_reset()
    send_mails()
    assert errors(log) == [f"{UNAVAILABLE}ConnectionRefusedError"]


def test_after_an_outage_all_mails_are_sent_alarms_first(ann: Any, port: int) -> None:
    User.objects.filter(pk=ann.pk).update(new_email="ann@new.example.org")
    mail.send_later("confirm_email", ann, "ann@new.example.org")
    ann.notify("new_device", client="script", is_named=True, kind="client")
    mail.send_later("password_reset", ann, priority=mail.Priority.RESET)
    ann.notify("token_reused", client="script")
    for minutes in range(10):
        send_after(minutes=minutes)
    server = MailServer()
    with server.running(port):
        send_after(minutes=10)
    assert server.subjects == [
        "We signed out one of your apps",
        "Set a new password",
        "A new app was connected to your account",
        "Confirm your e-mail address",
    ]


def test_an_outage_neither_uses_nor_saves_quota(ann: Any, port: int) -> None:
    most = LIMITS[Kind.NOTIFYING].free_attempts
    for _number in range(most + 3):
        ann.notify("new_device", client="script", is_named=True, kind="client")
    for _number in range(most):
        send_mails()
    server = MailServer()
    with server.running(port):
        send_mails()
    assert Counter(server.subjects) == {
        "A new app was connected to your account": most,
        "Many events in your account in the last hour": 1,
    }


def test_an_outage_of_a_day_is_a_failure_that_staff_see(ask_for_reset: Any, log: Any, page: Any, ann: Any) -> None:
    ann.notify("token_reused", client="script")
    send_after(hours=23)
    assert (QueuedMail.objects.waiting().count(), QueuedMail.objects.failed().count()) == (1, 0)
    send_after(hours=25)
    assert errors(log)[1:] == [
        f"{UNAVAILABLE}ConnectionRefusedError",
        "A mail could not be sent: 1 that waited for a day (ConnectionRefusedError)",
    ]
    assert "token_reused" in page.get("/admin/accounts/queuedmail/?state=failed").content.decode()


def test_a_failed_mail_is_not_sent_again(ann: Any, port: int) -> None:
    ann.notify("token_reused", client="script")
    send_after(hours=25)
    server = MailServer()
    with server.running(port):
        send_after(hours=26)
    assert server.letters == []


def test_a_login_that_fails_loses_no_mail(ask_for_reset: Any, port: int, settings: Any, log: Any) -> None:
    use_server(settings, port, user="wristband")
    server = MailServer()
    ask_for_reset()
    with server.running(port):
        send_mails()
        assert errors(log) == [f"{UNAVAILABLE}SMTPNotSupportedError"]
        use_server(settings, port)
        send_mails()
    assert server.subjects == ["Set a new password"]


def test_no_mail_is_sent_without_the_configured_tls(ask_for_reset: Any, port: int, settings: Any, log: Any) -> None:
    use_server(settings, port, tls=True)
    server = MailServer()
    ask_for_reset()
    with server.running(port):
        send_mails()
    assert errors(log) == [f"{UNAVAILABLE}SMTPNotSupportedError"]
    assert (server.asked, server.letters) == (0, [])


def test_a_silent_mail_server_delays_no_request(anonymous: Any, port: int, ann: Any, settings: Any) -> None:
    seconds = 4
    use_server(settings, port, seconds)
    with socket.create_server(("127.0.0.1", port)):
        started = time.monotonic()
        assert anonymous.post(RESET_AT_THE_API, {"email": ann.email}).status_code == 202
        assert time.monotonic() - started < seconds


def test_a_mail_that_the_server_scans_for_long_is_sent_once(ask_for_reset: Any, port: int, settings: Any) -> None:
    use_server(settings, port, timeout_seconds=0.2)
    server = MailServer(data_seconds=0.6)
    ask_for_reset()
    with server.running(port):
        send_mails()
        send_after(minutes=1)
    assert server.subjects == ["Set a new password"]
    assert not QueuedMail.objects.exists()


# The server refuses one mail


def test_a_temporary_refusal_is_tried_again_and_longer(ask_for_reset: Any, port: int, log: Any) -> None:
    server = MailServer("450 busy", "451 greylisted")
    ask_for_reset()
    with server.running(port):
        send_mails()
        send_after(seconds=9)
        assert server.asked == 1
        send_after(seconds=11)
        assert server.asked == 2
        send_after(seconds=20)
        assert server.asked == 2
        send_after(seconds=30)
    assert server.subjects == ["Set a new password"]
    assert said(log) == [
        "A mail is tried again in 10 seconds: password_reset (SMTPRecipientsRefused 450)",
        "A mail is tried again in 11 seconds: password_reset (SMTPRecipientsRefused 451)",
    ]


@pytest.mark.parametrize(
    ("priority", "minutes"), [(mail.Priority.ALARM, 5), (mail.Priority.RESET, 5), (mail.Priority.NOTICE, 60)]
)
def test_an_urgent_mail_waits_for_at_most_five_minutes(
    ann: Any, port: int, log: Any, priority: Any, minutes: int
) -> None:
    mail.send_later("token_reused", ann, priority=priority, client="script", **mail.where())
    server = MailServer("450 busy")
    with server.running(port):
        send_after(hours=2)
    assert said(log) == [f"A mail is tried again in {minutes * 60} seconds: token_reused (SMTPRecipientsRefused 450)"]


def test_a_mail_that_is_refused_for_a_day_has_failed(ann: Any, port: int, log: Any) -> None:
    ann.notify("token_reused", client="script")
    server = MailServer("450 busy", "450 busy")
    with server.running(port):
        send_mails()
        send_after(hours=25)
    assert errors(log) == ["A mail could not be sent: token_reused (SMTPRecipientsRefused 450)"]
    assert QueuedMail.objects.failed().count() == 1


def test_another_mail_does_not_wait_for_a_refused_one(ann: Any, bob: Any, port: int) -> None:
    ann.notify("token_reused", client="script")
    bob.notify("token_reused", client="script")
    server = MailServer("450 busy")
    with server.running(port):
        send_mails()
    assert [letter.rcpt_tos for letter in server.letters] == [["bob@example.org"]]


def test_a_permanent_refusal_fails_at_once(ask_for_reset: Any, port: int, log: Any) -> None:
    server = MailServer("550 5.1.1 no mailbox for ann@example.org")
    ask_for_reset()
    with server.running(port):
        send_mails()
        send_after(minutes=30)
    assert errors(log) == ["A mail could not be sent: password_reset (SMTPRecipientsRefused 550 5.1.1)"]
    assert (server.asked, server.letters) == (1, [])


# A fault that concerns every mail


@pytest.mark.parametrize("reply", ["530 5.7.0 authenticate first", "550 5.7.1 sender not allowed", "451 later"])
def test_a_refused_sender_is_an_outage(ann: Any, bob: Any, port: int, log: Any, reply: str) -> None:
    ann.notify("token_reused", client="script")
    bob.notify("token_reused", client="script")
    server = MailServer(refusals_of_senders=[reply])
    with server.running(port):
        send_mails()
        assert server.letters == []
        send_mails()
    assert errors(log) == [f"{UNAVAILABLE}SMTPSenderRefused {' '.join(reply.split()[: 1 + ('.' in reply)])}"]
    assert len(server.letters) == 2


def test_a_mail_whose_sender_is_refused_often_is_counted_once(ann: Any, port: int) -> None:
    ann.notify("new_device", client="script", is_named=True, kind="client")
    most = LIMITS[Kind.NOTIFYING].free_attempts
    server = MailServer(refusals_of_senders=["550 sender not allowed"] * (most + 1))
    with server.running(port):
        for _number in range(most + 2):
            send_mails()
    assert server.subjects == ["A new app was connected to your account"]
    assert not QueuedMail.objects.exists()


def test_a_mail_whose_text_is_refused_is_tried_again(ask_for_reset: Any, port: int, log: Any) -> None:
    server = MailServer(refusals_of_mails=["554 5.2.1 account suspended"])
    ask_for_reset()
    with server.running(port):
        send_mails()
        send_after(seconds=11)
    assert server.subjects == ["Set a new password"]
    assert said(log) == ["A mail is tried again in 10 seconds: password_reset (SMTPDataError 554 5.2.1)"]


def test_a_reply_that_quotes_the_link_is_neither_logged_nor_stored(ask_for_reset: Any, port: int, log: Any) -> None:
    server = MailServer(quotes_content=True)
    ask_for_reset()
    QueuedMail.objects.update(enqueued_at=timezone.now() - timedelta(hours=25))
    with server.running(port):
        send_mails()
    [failed] = QueuedMail.objects.failed()
    assert errors(log) == ["A mail could not be sent: password_reset (SMTPDataError 554 5.7.1)"]
    assert (failed.exception_class_path, failed.traceback) == ("SMTPDataError 554 5.7.1", "")
