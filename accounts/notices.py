"""
Notices: mails about what happened to an account. One function decides which of them leave. They go to confirmed
addresses only, a few in an hour for each account and each mailbox; what is beyond that is summed up in one mail.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from django.db import models, transaction
from django.urls import reverse
from django.utils import timezone

from accounts import mail, quotas, rate_limits
from accounts.http import request_context

SUMMED_UP = timedelta(hours=1)
# Counts one more of each source, or raises TooManyAttempts and counts none.
Take = Callable[[Sequence[rate_limits.Source]], object]


class Notice(NamedTuple):
    template: str
    # The page that the mail leads to.
    page: str
    # One in an hour leaves even beyond the limit, so that a flood of others does not hide it.
    is_urgent: bool = False
    # A password, token or link was enough for it: the mail says where, also if another user is signed in there.
    is_by_credential: bool = False


NOTICES = {
    "new_device": Notice("new_device", "sign_ins", is_by_credential=True),
    "token_reused": Notice("token_reused", "activity", is_urgent=True, is_by_credential=True),
    "password_changed": Notice("password_changed", "password_reset", is_urgent=True),
    "password_reset": Notice("password_changed", "password_reset", is_urgent=True, is_by_credential=True),
    "email_change_asked": Notice("email_change_asked", "profile", is_urgent=True),
    "email_changed": Notice("email_changed", "activity", is_urgent=True, is_by_credential=True),
}


def send_later(name: str, user: Any, take: Take, to: str = "", **words: Any) -> None:
    """Once the transaction has committed: to the user's address if it is confirmed, or to `to`, one that was."""
    if not to and user.email_confirmed_at is None:
        return
    notice = NOTICES[name]
    where = {} if request_context.is_by_another_user(user) and not notice.is_by_credential else mail.where()
    letter = mail.letter(notice.template, user, to, page=_page(notice.page), **where, **words)
    summary = mail.letter("more_notices", user, to, page=_page("activity"))
    if letter and summary:
        # After the commit: no lock on a count is held while others wait for the account.
        transaction.on_commit(partial(_send, name, user, take, letter, summary), robust=True)


def _page(view: str) -> str:
    return request_context.absolute_url_if_known(reverse(view))


def _send(name: str, user: Any, take: Take, letter: mail.Letter, summary: mail.Letter) -> None:
    if _passes(take, quotas.notices(user, letter.address)):
        mail.hand_over(letter)
        return
    if NOTICES[name].is_urgent and _passes(take, quotas.urgent_notices(user, letter.address, name)):
        mail.hand_over(letter)
    if _passes(take, quotas.summaries(user, letter.address)):
        summary.context["events"] = _events(user)
        mail.hand_over(summary)


def _passes(take: Take, sources: Sequence[rate_limits.Source]) -> bool:
    try:
        take(sources)
    except rate_limits.TooManyAttempts:
        return False
    return True


def _events(user: Any) -> list[tuple[Any, int]]:
    """What happened in the last hour, in words, and how often."""
    recent = user.security_events.filter(created_at__gt=timezone.now() - SUMMED_UP)
    counted = recent.order_by("type").values_list("type").annotate(models.Count("pk"))
    return [(recent.model.Type(kind).label, number) for kind, number in counted]
