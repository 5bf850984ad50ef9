"""A mail server that records the mails that it receives."""

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests import servers
from tests.chaos.proxy import Proxy
from tests.chaos.recorder import Letter

TEMPLATES = servers.ROOT / "templates" / "mail"


def _kinds() -> dict[str, str]:
    """Returns the name of the template of each subject: the first line of a template."""
    return {
        subject: path.stem
        for path in sorted(TEMPLATES.glob("*.txt"))
        for subject in re.findall(r'translate "([^"]+)"', path.read_text().partition("\n")[0])
    }


KIND_OF = _kinds()


class Mailbox:
    """Clients reach it by a proxy for faults."""

    def __init__(self) -> None:
        self._port = servers.free_port()
        self.proxy = Proxy(servers.free_port(), self._port)
        self.letters: list[Letter] = []
        self.refuses = self.drops_replies = False
        self._controller: Controller | None = None

    @property
    def url(self) -> str:
        """Returns the value of EMAIL_URL."""
        return f"smtp://127.0.0.1:{self.proxy.port}"

    @contextmanager
    def running(self) -> Iterator["Mailbox"]:
        with self.proxy.running():
            self.start()
            try:
                yield self
            finally:
                self.stop()

    def start(self) -> None:
        self._controller = Controller(self, hostname="127.0.0.1", port=self._port)
        self._controller.start()

    def stop(self) -> None:
        if self._controller:
            self._controller.stop()
        self._controller = None

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.refuses:
            return "451 4.3.0 Try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.letters.extend(letter(envelope.content, to) for to in envelope.rcpt_tos)
        if self.drops_replies and isinstance(server.transport, asyncio.Transport):
            server.transport.abort()
        return "250 OK"


def letter(content: bytes | str | None, to: str) -> Letter:
    """Returns what the checker needs of a mail that was just received."""
    assert isinstance(content, bytes)
    message = message_from_bytes(content, policy=policy.default)
    body = message.get_body(("plain",))
    assert body
    text = body.get_content()
    subject = str(message["Subject"])
    return Letter(
        kind=KIND_OF.get(subject, subject),
        to=to,
        received_at=time.monotonic(),
        header_to=str(message["To"]),
        names=frozenset(re.findall(r"\bperson\d+\b", text)),
        ip_addresses=frozenset(re.findall(r"\b\d+\.\d+\.\d+\.\d+\b", text)),
        id=str(message["Message-ID"]),
    )
