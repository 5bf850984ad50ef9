"""The contents of mails: what is stored of them until they are sent, and their text and HTML."""

import re
from collections.abc import Sequence
from datetime import datetime
from email.utils import parseaddr
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils import translation

# RFC 3834, section 5: mail servers and out-of-office programs do not reply.
HEADERS = {"Auto-Submitted": "auto-generated"}


class Letter(NamedTuple):
    """
    A mail as it is stored in its task, as JSON without a secret. Address and name are those at the time of the act: an
    alarm goes to the mailbox that was confirmed then, also if a thief has changed the address since.
    """

    template: str
    # None: no account has the address or name that a client gave. The task is the same, and no mail is sent.
    user_id: int | None
    address: str
    name: str
    context: dict[str, Any]
    site: str
    language: str | None
    # ISO 8601.
    at: str
    # Which quota the worker counts it against (accounts.notice_quotas), or "".
    quota: str = ""
    # The name of an urgent notice, or "".
    urgent: str = ""

    @property
    def written_at(self) -> datetime:
        return datetime.fromisoformat(self.at)


def message(letter: Letter, message_id: str, **context: Any) -> EmailMultiAlternatives:
    """
    Returns the mail from templates/mail/<template>.txt, whose first line is the subject, in the language of the
    request. `message_id` is the same at each attempt, so that mail programs recognise a mail that was sent twice.
    """
    with translation.override(letter.language):
        return _message(letter, message_id, letter.context | context)


def _message(letter: Letter, message_id: str, context: dict[str, Any]) -> EmailMultiAlternatives:
    context |= {
        "site_name": settings.SITE_NAME,
        "name": letter.name,
        "at": letter.written_at,
        "host": urlsplit(letter.site).netloc,
        "template": letter.template,
    }
    subject, _, body = render_to_string(f"mail/{letter.template}.txt", context).partition("\n")
    texts = [text.strip() for text in re.split(r"\n{2,}", body.strip()) if text.strip()]
    footer = render_to_string("mail/footer.txt", context).strip()
    color, dark_color = settings.BRAND_COLORS
    html = {
        "subject": subject.strip(),
        "preheader": _preheader(texts),
        "paragraphs": [_paragraph(text) for text in texts],
        "footer": footer,
        "site_name": settings.SITE_NAME,
        "color": color,
        "dark_color": dark_color,
    }
    # A line of "-- " separates the footer, and mail programs leave it out of replies (RFC 3676, section 4.3).
    text = "\n\n".join([*texts, f"-- \n{footer}\n"])
    headers = HEADERS | {"Message-ID": f"<{message_id}@{_sender_domain()}>"}
    written = EmailMultiAlternatives(subject.strip(), text, None, [letter.address], headers=headers)
    written.attach_alternative(render_to_string("mail/letter.html", html), "text/html")
    return written


def _sender_domain() -> str:
    return parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"


def _preheader(texts: Sequence[str]) -> str:
    """Returns the line that mail programs show beside the subject: what happened. The first text is the greeting."""
    what, *details = texts[1:3]
    return " · ".join([what, *details[0].split("\n")]) if what.endswith(":") and details else what


def _paragraph(text: str) -> dict[str, str]:
    """Returns the context of a paragraph. If its last line is a URL, the HTML version shows a button and the URL."""
    label, _, link = text.rpartition("\n")
    if label and link.startswith(("http://", "https://")):
        return {"label": label.rstrip(":"), "link": link}
    return {"text": text}
