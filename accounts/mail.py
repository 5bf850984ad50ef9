"""Mail to people about their account. It leaves after the commit and in the background: no answer waits for it,
so that none tells by its time whether there was a mail to send, and no action fails with the mail server."""

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from django.core.mail import send_mail
from django.db import connections, transaction
from django.template.loader import render_to_string
from django.utils import timezone, translation

from accounts import devices, origin

if TYPE_CHECKING:
    from accounts.models import User

logger = logging.getLogger(__name__)

# Its thread starts with the first mail, so not before a server forks its workers.
_postman = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mail")


def send_later(template: str, user: "User", to: str = "", **context: Any) -> None:
    """
    Sends templates/mail/<template>.txt, whose first line is the subject, once the transaction has committed: to the
    user's address unless told another, in the language of whoever asks now, with what is known of where they are.
    """
    address = to or user.email
    if not address or user.is_throw_away or user.is_service:
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
    """Returns when every mail handed over so far has been sent."""
    _postman.submit(int).result()


def _send(template: str, address: str, context: dict[str, Any], language: str | None) -> None:
    try:
        with translation.override(language):
            letter = render_to_string(f"mail/{template}.txt", context)
            subject, _, body = letter.partition("\n")
            paragraphs = [_paragraph(text) for text in re.split(r"\n{2,}", body.strip())]
            text = "\n\n".join(filter(None, (each["text"] for each in paragraphs))) + "\n"
            html = render_to_string("mail/letter.html", {"subject": subject.strip(), "paragraphs": paragraphs})
        send_mail(subject.strip(), text, None, [address], html_message=html)
    except Exception:
        # Nothing of the letter goes into the log: it may hold a reset link.
        logger.exception("A mail could not be sent: %s", template)
    finally:
        # What a template read: no request ends here, after which Django would look after the connection.
        connections.close_all()


def _paragraph(text: str) -> dict[str, str]:
    """A paragraph whose last line is an address on its own becomes a button, in mail that is shown as HTML."""
    label, _, link = text.strip().rpartition("\n")
    if label and link.startswith(("http://", "https://")):
        return {"text": text.strip(), "label": label.rstrip(":"), "link": link}
    return {"text": text.strip()}
