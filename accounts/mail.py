"""Mail to people about their account. It leaves after the commit and in the background: no answer waits for it,
so that none tells by its time whether there was a mail to send, and no action fails with the mail server."""

import logging
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from smtplib import SMTPNotSupportedError, SMTPRecipientsRefused, SMTPResponseException
from threading import Timer
from typing import TYPE_CHECKING, Any

from django.core.mail import EmailMultiAlternatives
from django.db import connections, transaction
from django.template.loader import render_to_string
from django.utils import timezone, translation

from accounts import devices, origin

if TYPE_CHECKING:
    from accounts.models import User

logger = logging.getLogger(__name__)

# Its thread starts with the first mail, so not before a server forks its workers.
_postman = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mail")

# Seconds before each further try, where the mail server is away. For more there are relays.
PAUSES = (2, 10, 60)
# So many letters may wait for theirs, each in a thread. A process that ends does not wait for them.
ROOM = 100
_waiting: set[Timer] = set()


def send_later(template: str, user: "User", to: str = "", **context: Any) -> None:
    """
    Sends templates/mail/<template>.txt, whose first line is the subject, once the transaction has committed: to the
    user's address unless told another, in the language of whoever asks now, with what is known of where they are.
    """
    address = to or user.email
    if not address or not user.has_mailbox:
        return
    user_agent = origin.user_agent()
    context |= {
        "user": user,
        "site": origin.absolute_url("/").rstrip("/"),
        "at": timezone.now(),
        "device": devices.name(user_agent) if user_agent else "",
        "ip_address": origin.ip_address(),
    }
    transaction.on_commit(partial(_postman.submit, _send, template, address, context, origin.language()))


def wait() -> None:
    """Returns when every mail handed over so far has been tried."""
    _postman.submit(int).result()


def _send(template: str, address: str, context: dict[str, Any], language: str | None) -> None:
    try:
        with translation.override(language):
            letter = _letter(template, address, context)
    except Exception:
        logger.exception("A mail could not be written: %s", template)
    else:
        _deliver(letter, template, PAUSES)
    finally:
        # What a template read: no request ends here, after which Django would look after the connection.
        connections.close_all()


def _letter(template: str, address: str, context: dict[str, Any]) -> EmailMultiAlternatives:
    written = render_to_string(f"mail/{template}.txt", context)
    subject, _, body = written.partition("\n")
    paragraphs = [_paragraph(text) for text in re.split(r"\n{2,}", body.strip())]
    text = "\n\n".join(filter(None, (each["text"] for each in paragraphs))) + "\n"
    html = render_to_string("mail/letter.html", {"subject": subject.strip(), "paragraphs": paragraphs})
    letter = EmailMultiAlternatives(subject.strip(), text, None, [address])
    letter.attach_alternative(html, "text/html")
    return letter


def _deliver(letter: EmailMultiAlternatives, template: str, pauses: Sequence[float]) -> None:
    try:
        letter.send()
    except Exception as error:
        if pauses and _may_pass(error) and len(_waiting) < ROOM:
            logger.warning("A mail is tried again in %s seconds: %s", pauses[0], template)
            _try_again(pauses[0], letter, template, pauses[1:])
            return
        # Nothing of the letter goes into the log: it may hold a reset link.
        logger.exception("A mail could not be sent: %s", template)


def _may_pass(error: Exception) -> bool:
    """No answer, or one that says "for now" (RFC 5321, section 4.2.1)."""
    if isinstance(error, SMTPRecipientsRefused):
        return all(code < 500 for code, _ in error.recipients.values())
    if isinstance(error, SMTPResponseException):
        return error.smtp_code < 500
    return isinstance(error, OSError) and not isinstance(error, SMTPNotSupportedError)


def _try_again(seconds: float, *letter: Any) -> None:
    def now() -> None:
        _postman.submit(_deliver, *letter)
        _waiting.discard(timer)

    timer = Timer(seconds, now)
    timer.daemon = True
    _waiting.add(timer)
    timer.start()


def _paragraph(text: str) -> dict[str, str]:
    """A paragraph whose last line is an address on its own becomes a button, in mail that is shown as HTML."""
    label, _, link = text.strip().rpartition("\n")
    if label and link.startswith(("http://", "https://")):
        return {"text": text.strip(), "label": label.rstrip(":"), "link": link}
    return {"text": text.strip()}
