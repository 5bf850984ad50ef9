"""Failures of the mail server: unavailable, refusing, silent or without TLS. No request waits or fails."""

import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from accounts import mail
from accounts.models import SecurityEvent
from tests import servers

pytestmark = pytest.mark.django_db(transaction=True)

RESET = "/accounts/password_reset/"
RESET_AT_THE_API = "/api/password/reset/"
TRIED_FOR = 0.3


class MailServer:
    """`refusals` are the replies to the first recipients, in order, before it accepts mails."""

    def __init__(self, *refusals: str) -> None:
        self.refusals = list(refusals)
        self.asked = 0
        self.letters: list[Envelope] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.asked += 1
        if self.refusals:
            return self.refusals.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.letters.append(envelope)
        return "250 OK"

    @contextmanager
    def running(self, port: int) -> Iterator[None]:
        controller = Controller(self, hostname="127.0.0.1", port=port)
        controller.start()
        try:
            yield
        finally:
            controller.stop()


@pytest.fixture(autouse=True)
def port(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a mail server that is not started yet."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", servers.free_port()
    settings.EMAIL_TIMEOUT = 1
    monkeypatch.setattr(mail, "PAUSES", (0.1, 0.1, 0.1))
    yield int(settings.EMAIL_PORT)
    servers.wait_until(lambda: not mail._waiting)
    mail.wait()


@pytest.fixture
def ask_for_reset(browser: Callable[[], Any], ann: Any) -> Callable[[], None]:
    def ask() -> None:
        assert browser().post(RESET, {"email": ann.email}).status_code == 302
        mail.wait()

    return ask


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "accounts.mail")
    return caplog


def said(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.name == "accounts.mail"]


def test_a_mail_is_sent_when_the_server_returns(ask_for_reset: Any, port: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(mail, "PAUSES", (2, 4))
    server = MailServer()
    ask_for_reset()
    with server.running(port):
        servers.wait_until(lambda: server.letters)
    assert "/accounts/reset/" in server.letters[0].content.decode()
    assert server.letters[0].rcpt_tos == ["ann@example.org"]


def test_a_lost_mail_is_logged_without_its_text(ask_for_reset: Any, log: Any) -> None:
    ask_for_reset()
    servers.wait_until(lambda: "A mail could not be sent: password_reset" in said(log))
    assert said(log)[:-1] == ["A mail is tried again in 0.1 seconds: password_reset"] * 3
    assert "/accounts/reset/" not in log.text
    assert SecurityEvent.objects.filter(type="password_reset_asked").count() == 1


def test_a_temporary_refusal_is_retried(ask_for_reset: Any, port: int) -> None:
    server = MailServer("450 busy", "451 greylisted")
    with server.running(port):
        ask_for_reset()
        servers.wait_until(lambda: server.letters)
    assert server.asked == 3


def test_a_permanent_refusal_is_not_retried(ask_for_reset: Any, port: int, log: Any) -> None:
    server = MailServer("550 nobody here")
    with server.running(port):
        ask_for_reset()
        assert said(log) == ["A mail could not be sent: password_reset"]
        time.sleep(TRIED_FOR)
    assert (server.asked, server.letters) == (1, [])


def test_no_mail_is_sent_without_the_configured_tls(ask_for_reset: Any, port: int, settings: Any, log: Any) -> None:
    settings.EMAIL_USE_TLS = True
    server = MailServer()
    with server.running(port):
        ask_for_reset()
        assert said(log) == ["A mail could not be sent: password_reset"]
        time.sleep(TRIED_FOR)
    assert (server.asked, server.letters) == (0, [])


def test_a_silent_mail_server_delays_no_request(
    anonymous: Any, port: int, ann: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMAIL_TIMEOUT = 4
    monkeypatch.setattr(mail, "PAUSES", ())
    with socket.create_server(("127.0.0.1", port)):
        started = time.monotonic()
        assert anonymous.post(RESET_AT_THE_API, {"email": ann.email}).status_code == 202
        assert time.monotonic() - started < settings.EMAIL_TIMEOUT
        mail.wait()
        assert time.monotonic() - started >= settings.EMAIL_TIMEOUT


def test_the_number_of_waiting_mails_is_limited(ask_for_reset: Any, log: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(mail, "ROOM", 1)
    monkeypatch.setattr(mail, "PAUSES", (0.5,))
    again, lost = "A mail is tried again in 0.5 seconds: password_reset", "A mail could not be sent: password_reset"
    ask_for_reset()
    ask_for_reset()
    assert said(log) == [again, lost]
    servers.wait_until(lambda: said(log) == [again, lost, lost])
    servers.wait_until(lambda: not mail._waiting)
    ask_for_reset()
    assert said(log) == [again, lost, lost, again]
