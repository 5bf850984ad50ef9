"""
Notices: mails about security events of an account. send_later() decides which of them are sent: to confirmed addresses
only, with a quota by the hour for each account and each mailbox. One summary replaces the notices beyond the quota.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.db import models, transaction
from django.urls import reverse
from django.utils import timezone

from accounts import mail, quotas, rate_limits
from accounts.http import request_context

SUMMARY_PERIOD = timedelta(hours=1)
# AttemptCounter.objects.consume_quota. A parameter, since the model of a user imports this module.
ConsumeQuota = Callable[[Sequence[rate_limits.Source]], None]


class Notice(NamedTuple):
    """A kind of notice."""

    template: str
    # The view to which the mail links, or "".
    page: str
    # One in an hour is sent even beyond the quota, so that a flood of other notices does not suppress it.
    is_urgent: bool = False
    # A password, token or link was sufficient: the mail names the client, even if another user is signed in there.
    is_by_credential: bool = False


NOTICES = {
    "new_device": Notice("new_device", "sign_ins", is_by_credential=True),
    "token_reused": Notice("token_reused", "activity", is_urgent=True, is_by_credential=True),
    "password_changed": Notice("password_changed", "password_reset", is_urgent=True),
    "password_reset": Notice("password_changed", "password_reset", is_urgent=True, is_by_credential=True),
    "username_changed": Notice("username_changed", "activity", is_urgent=True),
    "email_change_asked": Notice("email_change_asked", "profile", is_urgent=True),
    "email_changed": Notice("email_changed", "activity", is_urgent=True, is_by_credential=True),
    "factor_added": Notice("factor_added", "password_reset", is_urgent=True),
    "factor_removed": Notice("factor_removed", "password_reset", is_urgent=True),
    "factor_disabled": Notice("factor_disabled", "password_reset", is_urgent=True, is_by_credential=True),
    "recovery_codes_made": Notice("recovery_codes_made", "password_reset", is_urgent=True),
    "recovery_code_used": Notice("recovery_code_used", "password_reset", is_urgent=True, is_by_credential=True),
    "password_known": Notice("password_known", "password_reset", is_urgent=True, is_by_credential=True),
    "passkey_counter": Notice("passkey_counter", "activity", is_urgent=True, is_by_credential=True),
    "account_deleted": Notice("account_deleted", "", is_urgent=True),
}


def send_later(name: str, user: Any, consume_quota: ConsumeQuota, to: str = "", **context: Any) -> None:
    """
    Mails a notice when the transaction has committed: to the user's address if it is confirmed, or to `to`, an earlier
    confirmed address of the user.
    """
    if not to and user.email_confirmed_at is None:
        return
    notice = NOTICES[name]
    client = {} if request_context.is_by_another_user(user) and not notice.is_by_credential else mail.where()
    letter = mail.letter(notice.template, user, to, page=_page(notice.page), **client, **context)
    summary = mail.letter("more_notices", user, to, page=_page("activity"))
    if letter and summary:
        # After the commit, so that the rows of the counters are not locked while the account's row is.
        transaction.on_commit(partial(_send, name, user, consume_quota, letter, summary), robust=True)


def send_pause_later(account: UUID, user: Any, consume_quota: ConsumeQuota, by_strangers: bool) -> None:
    """
    Mails that sign-in is paused, when the transaction has committed: at most once a day for each username, of which
    `account` is the digest. Two statements, also without an account (`user` is None), so that the response time of a
    guess does not show whether there is one. `by_strangers`: known browsers of the user are not locked out.
    """
    letter = None
    if user and user.is_active and user.email_confirmed_at:
        context: dict[str, Any] = {"page": _page("password_reset"), "by_strangers": by_strangers, **mail.where()}
        letter = mail.letter("sign_in_paused", user, **context)
    transaction.on_commit(partial(_send_pause, account, user, consume_quota, letter), robust=True)


def _send_pause(account: UUID, user: Any, consume_quota: ConsumeQuota, letter: mail.Letter | None) -> None:
    sources = [*quotas.pauses(account), *(quotas.notices(user, letter.address) if letter else [])]
    if _is_within(consume_quota, sources) and letter:
        mail.hand_over(letter)


def _page(view: str) -> str:
    return request_context.absolute_url_if_known(reverse(view)) if view else ""


def _send(name: str, user: Any, consume_quota: ConsumeQuota, letter: mail.Letter, summary: mail.Letter) -> None:
    if _is_within(consume_quota, quotas.notices(user, letter.address)):
        mail.hand_over(letter)
        return
    if NOTICES[name].is_urgent and _is_within(consume_quota, quotas.urgent_notices(user, letter.address, name)):
        mail.hand_over(letter)
    if _is_within(consume_quota, quotas.summaries(user, letter.address)):
        summary.context["events"] = _events(user)
        mail.hand_over(summary)


def _is_within(consume_quota: ConsumeQuota, sources: Sequence[rate_limits.Source]) -> bool:
    try:
        consume_quota(sources)
    except rate_limits.TooManyAttempts:
        return False
    return True


def _events(user: Any) -> list[tuple[Any, int]]:
    """Returns the labels of the event types of the last hour, with the number of events."""
    recent = user.security_events.filter(created_at__gt=timezone.now() - SUMMARY_PERIOD)
    counted = recent.order_by("type").values_list("type").annotate(models.Count("pk"))
    return [(recent.model.Type(kind).label, number) for kind, number in counted]
