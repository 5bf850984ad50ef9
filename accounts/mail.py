"""
Mails to users about their accounts. They are sent after the commit, in a background thread, so that the response time
does not reveal whether a mail was sent, and no request fails with the mail server.
"""

import logging
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from smtplib import SMTPNotSupportedError, SMTPRecipientsRefused, SMTPResponseException
from threading import Timer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.core.mail import EmailMultiAlternatives
from django.db import connections, transaction
from django.template.loader import render_to_string
from django.utils import timezone, translation

from accounts import devices, plain_words
from accounts.http import request_context

logger = logging.getLogger(__name__)

# Its thread starts with the first mail, that is after a server has forked its workers.
_postman = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mail")

# Seconds before each retry if the mail server is unavailable. A local relay retries for longer.
PAUSES = (2, 10, 60)
# Maximum number of mails that wait for a retry, each in a thread. They are lost when the process ends.
ROOM = 100
_waiting: set[Timer] = set()
# Filters for the words of a template's context that a user or a client has chosen.
PLAIN = {"client": plain_words.words, "device": plain_words.words, "new_address": plain_words.address}


# RFC 3834, section 5: mail servers and out-of-office programs do not reply.
HEADERS = {"Auto-Submitted": "auto-generated"}


class Letter(NamedTuple):
    """A mail that is not rendered yet: it is rendered in the background thread."""

    template: str
    address: str
    context: dict[str, Any]
    language: str | None


def letter(template: str, user: Any, to: str = "", **context: Any) -> Letter | None:
    """
    Returns a mail from templates/mail/<template>.txt, whose first line is the subject: to the user's address or to
    `to`, in the language of the request. None for an account without a mailbox. Removes words that are not plain.
    """
    address = to or user.email
    if not address or not user.has_mailbox:
        return None
    context |= {
        "name": plain_words.username(user.username),
        "at": timezone.now(),
        "host": urlsplit(request_context.site()).netloc,
        "template": template,
    }
    for word, plain in PLAIN.items():
        context[word] = plain(context.get(word, ""))
    return Letter(template, address, context, request_context.language())


def where() -> dict[str, str | None]:
    """Returns the device and the IP address of the current request's client."""
    user_agent = request_context.user_agent()
    return {"device": devices.name(user_agent) if user_agent else "", "ip_address": request_context.ip_address()}


def send_later(template: str, user: Any, to: str = "", **context: Any) -> None:
    """Sends a requested mail when the transaction has committed. For notices see accounts.notices."""
    if written := letter(template, user, to, **context):
        transaction.on_commit(partial(hand_over, written))


def hand_over(letter: Letter) -> None:
    """Queues a mail for the background thread."""
    _postman.submit(_send, letter)


def wait() -> None:
    """Returns when the background thread has tried to send each mail that is queued now."""
    _postman.submit(int).result()


def _send(letter: Letter) -> None:
    try:
        with translation.override(letter.language):
            written = _written(letter)
    except Exception:
        logger.exception("A mail could not be written: %s", letter.template)
    else:
        _deliver(written, letter.template, PAUSES)
    finally:
        # Templates may query the database. Django closes connections at the end of requests only.
        connections.close_all()


def _written(letter: Letter) -> EmailMultiAlternatives:
    subject, _, body = render_to_string(f"mail/{letter.template}.txt", letter.context).partition("\n")
    texts = [text.strip() for text in re.split(r"\n{2,}", body.strip()) if text.strip()]
    footer = render_to_string("mail/footer.txt", letter.context).strip()
    context = {
        "subject": subject.strip(),
        "preheader": _preheader(texts),
        "paragraphs": [_paragraph(text) for text in texts],
        "footer": footer,
    }
    # A line of "-- " separates the footer, and mail programs leave it out of replies (RFC 3676, section 4.3).
    text = "\n\n".join([*texts, f"-- \n{footer}\n"])
    message = EmailMultiAlternatives(subject.strip(), text, None, [letter.address], headers=HEADERS)
    message.attach_alternative(render_to_string("mail/letter.html", context), "text/html")
    return message


def _preheader(texts: Sequence[str]) -> str:
    """Returns the line that mail programs show beside the subject: what happened. The first text is the greeting."""
    what, *details = texts[1:3]
    return " · ".join([what, *details[0].split("\n")]) if what.endswith(":") and details else what


def _deliver(letter: EmailMultiAlternatives, template: str, pauses: Sequence[float]) -> None:
    try:
        letter.send()
    except Exception as error:
        if pauses and _may_pass(error) and len(_waiting) < ROOM:
            logger.warning("A mail is tried again in %s seconds: %s", pauses[0], template)
            _try_again(pauses[0], letter, template, pauses[1:])
            return
        # The log has no text of the mail, which may contain a reset link.
        logger.exception("A mail could not be sent: %s", template)


def _may_pass(error: Exception) -> bool:
    """Returns whether the error is transient: no reply, or a 4yz reply (RFC 5321, section 4.2.1)."""
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
    """Returns the context of a paragraph. If its last line is a URL, the HTML version shows a button and the URL."""
    label, _, link = text.rpartition("\n")
    if label and link.startswith(("http://", "https://")):
        return {"label": label.rstrip(":"), "link": link}
    return {"text": text}
