"""Delivery to the mail server, and the causes of failures: of the server, of one mail for a while, or for good."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from smtplib import SMTP, SMTP_SSL, SMTPHeloError, SMTPRecipientsRefused, SMTPResponseException, SMTPSenderRefused
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends import smtp

from accounts import django_versions

# RFC 3463: the detail of a reply, for example 5.7.1.
ENHANCED_STATUS = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")
# RFC 5321, section 4.5.3.2.6: a server may scan a mail before it replies. A client that times out sends it twice.
DATA_SECONDS = 600.0


class DeliveryError(Exception):
    """A mail was not sent. The text has the codes of the error, never a reply: some servers quote links in them."""


class ServerUnavailable(DeliveryError):
    """No session with the mail server, for a cause that concerns every mail: network, TLS, or authentication."""


class SenderRefused(ServerUnavailable):
    """The server refuses the sender, which is that of every mail: not allowed, not authenticated, or suspended."""


class Delayed(DeliveryError):
    """
    The mail may be accepted later: a 4yz reply (RFC 5321, section 4.2.1), a lost connection, or a 5yz reply to the text
    of the mail, which may concern every mail: a suspended account, or a full disk.
    """


class Refused(DeliveryError):
    """The mail will not be accepted: a 5yz reply to its recipient."""


class Connection(SMTP):
    """Waits for up to DATA_SECONDS for the reply to a mail. Other replies have the timeout of the settings."""

    def data(self, msg: Any) -> Any:
        try:
            return super().data(msg)
        finally:
            self._set_timeout(self.timeout)

    def send(self, s: Any) -> None:
        super().send(s)
        # A command is a str.
        if isinstance(s, bytes):
            self._set_timeout(DATA_SECONDS)

    def _set_timeout(self, seconds: float) -> None:
        # None after a lost connection.
        if self.sock:
            self.sock.settimeout(seconds)


class TLSConnection(Connection, SMTP_SSL):
    """The same with TLS from the start."""


class Backend(smtp.EmailBackend):
    """Django's backend for SMTP with these connections."""

    @property
    def connection_class(self) -> type[Connection]:
        return TLSConnection if self.use_ssl else Connection


@contextmanager
def session() -> Iterator[Any]:
    """A session with the mail server of EMAIL_URL. Raises ServerUnavailable."""
    server = django_versions.mail_connection(Backend)
    try:
        server.open()
    except Exception as error:
        # A login that failed leaves the connection open.
        _close(server)
        raise ServerUnavailable(codes(error)) from None
    try:
        yield server
    finally:
        _close(server)


def deliver(server: Any, message: EmailMessage) -> None:
    """Sends a mail in a session. Raises SenderRefused, Delayed and Refused."""
    try:
        server.send_messages([message])
    except Exception as error:
        raise _kind(error)(codes(error)) from None


def codes(error: Exception) -> str:
    """Returns the name of the error with its SMTP codes, without the words of the server."""
    replies: list[tuple[int, Any]] = []
    if isinstance(error, SMTPRecipientsRefused):
        replies = list(error.recipients.values())
    elif isinstance(error, SMTPResponseException):
        replies = [(error.smtp_code, error.smtp_error)]
    found = [f"{code} {' '.join(ENHANCED_STATUS.findall(str(reply))[:1])}".strip() for code, reply in replies]
    return " ".join([type(error).__name__, *found])


def _close(server: Any) -> None:
    # The server has accepted or refused the mail: an error of QUIT changes neither.
    with suppress(Exception):
        server.close()


def _kind(error: Exception) -> type[DeliveryError]:
    if isinstance(error, SMTPSenderRefused | SMTPHeloError):
        return SenderRefused
    if isinstance(error, SMTPRecipientsRefused) and any(code >= 500 for code, _ in error.recipients.values()):
        return Refused
    return Delayed
