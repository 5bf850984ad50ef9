"""Mail to people about their account. It leaves after the commit and in the background: no answer waits for it,
so that none tells by its time whether there was a mail to send, and no action fails with the mail server."""

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from django.core.mail import send_mail
from django.db import transaction
from django.template.loader import render_to_string

if TYPE_CHECKING:
    from accounts.models import User

logger = logging.getLogger(__name__)

# Its thread starts with the first mail, so not before a server forks its workers.
_postman = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mail")


def send_later(template: str, user: "User", **context: Any) -> None:
    """Sends templates/mail/<template>.txt, whose first line is the subject, once the transaction has committed."""
    if user.email and not user.is_throw_away:
        transaction.on_commit(partial(_postman.submit, _send, template, user.email, {"user": user, **context}))


def wait() -> None:
    """Returns when every mail handed over so far has been sent."""
    _postman.submit(int).result()


def _send(template: str, address: str, context: dict[str, Any]) -> None:
    try:
        subject, _, body = render_to_string(f"mail/{template}.txt", context).partition("\n")
        send_mail(subject.strip(), body.strip() + "\n", None, [address])
    except Exception:
        # Nothing of the letter goes into the log: it may hold a reset link.
        logger.exception("A mail could not be sent: %s", template)
