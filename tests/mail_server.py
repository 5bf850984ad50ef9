"""A mail server on loopback that accepts mails, or fails as it is told."""

import asyncio
import email
import email.policy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from accounts.django_versions import SMTP_BACKEND, mail_settings


def use_backend(settings: Any, backend: str, timeout_seconds: float = 1, **server: Any) -> None:
    """Sends mails by this backend. `server` are the other settings, by their names before Django 6.1."""
    for name, value in mail_settings({"EMAIL_BACKEND": backend} | server, timeout_seconds).items():
        setattr(settings, name, value)


def use_server(settings: Any, port: int, timeout_seconds: float = 1, user: str = "", tls: bool = False) -> None:
    """Sends mails to a server on loopback."""
    login = {"EMAIL_HOST_USER": user, "EMAIL_HOST_PASSWORD": user and "of the day before"}
    address = {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": port, "EMAIL_USE_TLS": tls}
    use_backend(settings, SMTP_BACKEND, timeout_seconds, **address, **login)


class MailServer:
    """The refusals are the replies to the first senders, recipients and mails, in order, before it accepts mails."""

    def __init__(
        self,
        *refusals: str,
        refusals_of_senders: Sequence[str] = (),
        refusals_of_mails: Sequence[str] = (),
        quotes_content: bool = False,
        stops_before: str = "",
        data_seconds: float = 0,
    ) -> None:
        self.refusals = list(refusals)
        self.refusals_of_senders = list(refusals_of_senders)
        self.refusals_of_mails = list(refusals_of_mails)
        self.quotes_content = quotes_content
        # The command, RCPT or DATA, whose first client gets no reply.
        self.stops_before = stops_before
        # How long it scans a mail before it replies.
        self.data_seconds = data_seconds
        self.has_stopped = Event()
        self.asked = 0
        self.letters: list[Envelope] = []

    @property
    def subjects(self) -> list[str]:
        return [str(each["Subject"]) for each in self.messages]

    @property
    def messages(self) -> list[email.message.EmailMessage]:
        parse = email.message_from_bytes
        return [parse(bytes(each.content or b""), policy=email.policy.default) for each in self.letters]  # type: ignore[misc]

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.refusals_of_senders:
            return self.refusals_of_senders.pop(0)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.asked += 1
        await self._stop_before("RCPT")
        if self.refusals:
            return self.refusals.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.quotes_content:
            text = bytes(envelope.content or b"").decode()
            return f"554 5.7.1 refused: {text[text.index('/accounts/') :].split()[0]}"
        if self.refusals_of_mails:
            return self.refusals_of_mails.pop(0)
        self.letters.append(envelope)
        await self._stop_before("DATA")
        await asyncio.sleep(self.data_seconds)
        return "250 OK"

    async def _stop_before(self, command: str) -> None:
        if self.stops_before == command and not self.has_stopped.is_set():
            self.has_stopped.set()
            await asyncio.sleep(3600)

    @contextmanager
    def running(self, port: int) -> Iterator[None]:
        controller = Controller(self, hostname="127.0.0.1", port=port)
        controller.start()
        try:
            yield
        finally:
            controller.stop()
