"""Mails that a client requested: whether they still have a purpose when they are sent, and their links."""

from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.utils import timezone

from accounts import links, notice_quotas
from accounts.letters import Letter


class Pointless(Exception):
    """The mail is not sent, because the state has changed since it was requested, or its link would be too late."""


def context(letter: Letter) -> dict[str, Any]:
    """
    Returns what a mail contains beside the stored context: a link, whose token is made now, or the events of a
    summary. Raises Pointless. At most three statements; none for a notice.
    """
    if letter.user_id is None:
        raise Pointless("no account")
    if letter.template not in CHECKS:
        return {}
    user = get_user_model().objects.filter(pk=letter.user_id).first()
    if user is None:
        raise Pointless("the account was deleted")
    return CHECKS[letter.template](letter, user)


def _reset(letter: Letter, user: Any) -> dict[str, Any]:
    _check_time(letter)
    _check(user.may_reset_password and user.email == letter.address, "no reset for this address any more")
    return {"link": links.url("password_reset_confirm", user, links.password_reset, letter.site)}


def _confirmation(letter: Letter, user: Any) -> dict[str, Any]:
    _check_time(letter)
    _check(user.is_active and user.address_to_confirm == letter.address, "the address is not to be confirmed any more")
    return {"link": links.url("email_confirm", user, links.email_confirmation, letter.site)}


def _address_taken(letter: Letter, user: Any) -> dict[str, Any]:
    _check(user.is_active and user.new_email == letter.address, "the change of the address was cancelled")
    return {}


def _removal(letter: Letter, user: Any) -> dict[str, Any]:
    removals: Any = apps.get_model("accounts.FactorRemoval")
    removal_id = letter.context["removal"]
    _check(removals.objects.of(user).pending().filter(pk=removal_id).exists(), "the removal is not pending any more")
    return {"link": links.removal_url(removal_id, letter.site)}


def _pause(letter: Letter, user: Any) -> dict[str, Any]:
    _check(user.is_active, "the account was deactivated")
    return {}


def _summary(letter: Letter, user: Any) -> dict[str, Any]:
    return {"events": notice_quotas.recent_events(user.pk)}


CHECKS: dict[str, Callable[[Letter, Any], dict[str, Any]]] = {
    "password_reset": _reset,
    "confirm_email": _confirmation,
    "address_taken": _address_taken,
    "factor_removal": _removal,
    "sign_in_paused": _pause,
    "more_notices": _summary,
}


def _check(is_current: bool, cause: str) -> None:
    if not is_current:
        raise Pointless(cause)


def _check_time(letter: Letter) -> None:
    """The link says that it works for an hour: the hour begins with the request. After a restore, request it again."""
    age = timezone.now() - letter.written_at
    _check(age.total_seconds() < settings.PASSWORD_RESET_TIMEOUT, "its link would be too late")
    restores: Any = apps.get_model("accounts.Restore")
    _check(not restores.objects.since(letter.written_at).exists(), "requested before a restore")
