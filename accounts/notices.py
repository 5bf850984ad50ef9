"""
Notices: mails about security events of an account. They are sent to confirmed addresses only, with quotas
(accounts.notice_quotas).
"""

from typing import Any, NamedTuple
from uuid import UUID

from django.urls import reverse

from accounts import mail, notice_quotas
from accounts.http import request_context


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
    "api_key_made": Notice("api_key_made", "sign_ins", is_urgent=True),
    "signed_in_as": Notice("signed_in_as", "activity", is_urgent=True),
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
    "device_proof_failed": Notice("device_proof_failed", "sign_ins", is_urgent=True, is_by_credential=True),
    "account_connected": Notice("account_connected", "security", is_urgent=True),
    "account_disconnected": Notice("account_disconnected", "security", is_urgent=True),
    "account_deleted": Notice("account_deleted", "", is_urgent=True),
}


def send_later(name: str, user: Any, to: str = "", **context: Any) -> None:
    """
    Queues a notice: to the user's address if it is confirmed, or to `to`, an earlier confirmed address of the user. One
    statement, in the transaction of the event.
    """
    if not to and user.email_confirmed_at is None:
        return
    notice = NOTICES[name]
    client = {} if request_context.is_by_another_user(user) and not notice.is_by_credential else mail.where()
    mail.send_later(
        notice.template,
        user,
        to,
        priority=mail.Priority.ALARM if notice.is_urgent else mail.Priority.NOTICE,
        quota=notice_quotas.NOTICE,
        urgent=name if notice.is_urgent else "",
        page=_page(notice.page),
        # For the summary that may be sent instead.
        summary_page=_page("activity"),
        **client,
        **context,
    )


def send_pause_later(account: UUID, user: Any, by_strangers: bool) -> None:
    """
    Queues a notice that sign-in is paused: sent at most once a day for each username, of which `account` is the digest.
    One statement, also without an account (`user` is None), so that the response time of a guess does not show whether
    there is one. `by_strangers`: known browsers of the user are not locked out.
    """
    client: dict[str, Any] = mail.where()
    is_mailed = user and user.is_active and user.email_confirmed_at and user.has_mailbox
    mail.send_later(
        "sign_in_paused",
        user if is_mailed else None,
        priority=mail.Priority.NOTICE,
        quota=notice_quotas.PAUSE,
        account=str(account),
        page=_page("password_reset"),
        by_strangers=by_strangers,
        **client,
    )


def _page(view: str) -> str:
    return request_context.absolute_url_if_known(reverse(view)) if view else ""
