"""
The queue of mails. A mail is a task (django-tasks), written in the transaction of its act and sent by
`manage.py db_worker`: it is not lost with a process, no request waits for the mail server, and the response time does
not reveal whether a mail was sent. For the rows of the queue see accounts.models.QueuedMail.
"""

import logging
from enum import IntEnum
from typing import Any

from django.utils import timezone, translation
from django.utils.functional import Promise

from accounts import delivery, devices, letters, notice_quotas, plain_words, requested_mails
from accounts.django_versions import TaskContext as TaskContext
from accounts.django_versions import TaskResultStatus, task
from accounts.http import request_context
from accounts.letters import Letter

Status = TaskResultStatus

logger = logging.getLogger(__name__)


class Priority(IntEnum):
    """The order in which mails are sent."""

    ALARM = 30
    RESET = 20
    NOTICE = 10
    OTHER = 0


# Filters for the words of a template's context that a user or a client has chosen.
PLAIN = {"client": plain_words.words, "device": plain_words.words, "new_address": plain_words.address}


@task(takes_context=True)
def send(context: TaskContext, letter: dict[str, Any]) -> None:
    """
    Sends a mail, unless it has no purpose any more or its quota is used up. Raises DeliveryError. The quota is counted
    in a session with the mail server, at the first attempt only.
    """
    stored = Letter(**letter)
    try:
        found = requested_mails.context(stored)
    except requested_mails.Pointless as cause:
        log = logger.warning if stored.user_id else logger.debug
        log("A mail was not sent: %s (%s)", stored.template, cause)
        return
    with delivery.session() as server:
        is_first = context.attempt == 1
        decision = notice_quotas.count(stored) if is_first else notice_quotas.Decision(is_sent=True)
        if decision.needs_summary:
            page = {"page": stored.context["summary_page"]}
            _queue(stored._replace(template="more_notices", context=page, quota="", urgent=""), Priority.OTHER)
        if decision.is_sent:
            delivery.deliver(server, letters.message(stored, context.task_result.id, **found))


def send_later(
    template: str,
    user: Any,
    to: str = "",
    *,
    priority: Priority = Priority.OTHER,
    quota: str = "",
    urgent: str = "",
    **context: Any,
) -> None:
    """
    Queues a mail from templates/mail/<template>.txt to the user's address, or to `to`, in the language of the request.
    One statement; none for an account without a mailbox. Without a user the task is the same, and no mail is sent: the
    response time does not show whether there is an account. Removes words that are not plain.
    """
    if user is not None and not ((to or user.email) and user.has_mailbox):
        return
    language = request_context.language()
    letter = Letter(
        template=template,
        user_id=user and user.pk,
        address=to or (user.email if user else ""),
        name=plain_words.username(user.username) if user else "",
        context=_storable(context, language),
        site=request_context.site(),
        language=language,
        at=timezone.now().isoformat(),
        quota=quota,
        urgent=urgent,
    )
    _queue(letter, priority)


def where() -> dict[str, str | None]:
    """Returns the device and the IP address of the current request's client."""
    user_agent = request_context.user_agent()
    return {"device": devices.name(user_agent) if user_agent else "", "ip_address": request_context.ip_address()}


def _queue(letter: Letter, priority: Priority) -> None:
    send.using(priority=int(priority)).enqueue(letter=letter._asdict())


def _storable(context: dict[str, Any], language: str | None) -> dict[str, Any]:
    """Returns the context as JSON: plain words, and translated ones in the language of the mail."""
    plain = {word: PLAIN[word](value or "") if word in PLAIN else value for word, value in context.items()}
    with translation.override(language):
        return {word: str(value) if isinstance(value, Promise) else value for word, value in plain.items()}
