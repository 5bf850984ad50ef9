"""
Removal of lost factors by staff: after a day, at the next sign-in with the right password or by `prune`. It is stopped
by the user, with the link in the mail, by staff, or if a factor is used meanwhile. remove_at_once() has no delay.
"""

from collections.abc import Iterator
from datetime import timedelta

from django.core import signing
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils import timezone

from accounts import links, mail
from accounts.factors import changes
from accounts.http import request_context
from accounts.models import FactorRemoval, SecurityEvent, User

PERMISSION = "accounts.remove_factors"
DELAY = timedelta(hours=24)


def request(user: User, staff: User, why: str) -> FactorRemoval | None:
    """
    Requests the removal of all factors, and mails the link that stops it. None if one is pending already, without a
    second factor, and for a user who is not active. Raises ValidationError without a reason.
    """
    removal = FactorRemoval(user=user, requested_by=staff, why=why, due_at=timezone.now() + DELAY)
    removal.clean_fields(exclude=["closed_at"])
    with request_context.acting(why, staff), transaction.atomic():
        owner = User.objects.filter(pk=user.pk, is_active=True).with_second_factor().lock().first()
        if owner is None or FactorRemoval.objects.of(owner).pending().exists():
            return None
        removal.save(force_insert=True)
        SecurityEvent.objects.record(SecurityEvent.Type.FACTOR_REMOVAL_ASKED, owner)
        links.require_site("stop_factor_removal")
        mail.send_later("factor_removal", owner, priority=mail.Priority.ALARM, removal=str(removal.pk))
    return removal


def get_by_token(token: str) -> FactorRemoval | None:
    """Returns the pending removal of a mailed link, with its user; None for an invalid link. One statement."""
    try:
        pk = links.removal_id(token)
        removal: FactorRemoval = FactorRemoval.objects.pending().select_related("user").get(pk=pk)
    except (signing.BadSignature, FactorRemoval.DoesNotExist, ValidationError, ValueError):
        return None
    return removal


def stop(removal: FactorRemoval, cause: str = "link") -> bool:
    """Stops a pending removal, and records the cause. Returns whether it was pending."""
    with transaction.atomic():
        is_stopped = removal.close()
        if is_stopped:
            SecurityEvent.objects.record(SecurityEvent.Type.FACTOR_REMOVAL_STOPPED, removal.user, cause=cause)
    return is_stopped


def carry_out_if_due(user: User) -> bool:
    """
    Removes all factors of a user whose password was just verified on this instance, if a removal is due. Returns
    whether it did; the sign-in may then start. One statement if none is due.
    """
    if not FactorRemoval.objects.of(user).due().exists():
        return False
    with transaction.atomic():
        owner = User.objects.filter(pk=user.pk).lock().first()
        removal = FactorRemoval.objects.of(user).due().select_related("requested_by").first()
        if owner is None or removal is None:
            return False
        if cause := _obstacle(owner, removal):
            stop(removal, cause)
            return False
        removal.close()
        with request_context.acting(removal.why, removal.requested_by):
            changes.remove_all(user)
    return True


def carry_out_all() -> Iterator[int]:
    """Carries out each removal that is due, in a transaction of its own. Yields 1 for each that it did, otherwise 0."""
    for removal in FactorRemoval.objects.due().select_related("user"):
        yield int(carry_out_if_due(removal.user))


def remove_at_once(user: User, why: str) -> int:
    """
    Removes all factors of the user, and ends all sign-ins, without a delay (`manage.py remove_factors`). Returns how
    many factors were removed. Raises AccountChanged for a user who is not active.
    """
    with request_context.acting(why), transaction.atomic():
        removed = changes.remove_all(user)
        for removal in FactorRemoval.objects.of(user).pending():
            removal.close()
    return removed


def _obstacle(owner: User, removal: FactorRemoval) -> str:
    """
    Returns why a removal that is due is stopped instead, or "": the user is not active, a factor was used or added
    since the request, or the staff member could no longer request it.
    """
    if not owner.is_active:
        return "deactivated"
    since = removal.requested_at
    is_used = models.Q(last_used_at__gte=since) | models.Q(created_at__gte=since)
    if any(model.objects.of(owner).filter(is_used).exists() for model in changes.FACTOR_MODELS):
        return "factor_used"
    staff = removal.requested_by
    may_remove = staff is not None and staff.is_staff and staff.has_perm(PERMISSION) and owner.is_manageable_by(staff)
    return "" if may_remove else "not_permitted"
