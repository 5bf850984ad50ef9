"""The mail about a reused refresh token, as text for /compare/: throw-away users have no mailbox."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.template.loader import render_to_string
from django.urls import reverse

from accounts import devices, plain_words
from accounts.http import request_context
from accounts.models import SecurityEvent, SignIn, User


@dataclass(frozen=True)
class Mail:
    subject: str
    text: str


def latest(user: User) -> Mail | None:
    """Returns the mail about the user's latest event of this type; None if there is no event. Two statements."""
    events = SecurityEvent.objects.filter(user=user, type=SecurityEvent.Type.TOKEN_REUSED)
    event = events.order_by("-pk").first()
    return _mail_about(event, user) if event else None


def _mail_about(event: SecurityEvent, user: User) -> Mail:
    sign_in = SignIn.objects.filter(pk=event.sid).first()
    return rendered(
        {
            "name": plain_words.username(user.username),
            "client": plain_words.words(sign_in.label) if sign_in else "",
            "device": plain_words.words(devices.name(event.user_agent)) if event.user_agent else "",
            "ip_address": event.ip_address,
            "at": event.created_at,
        }
    )


def rendered(context: Mapping[str, Any]) -> Mail:
    """Returns the mail of the project's template, with a link to the activity."""
    page = request_context.absolute_url_if_known(reverse("activity"))
    subject, _, body = render_to_string("mail/token_reused.txt", {**context, "page": page}).partition("\n")
    return Mail(subject.strip(), re.sub(r"\n{3,}", "\n\n", body.strip()))
