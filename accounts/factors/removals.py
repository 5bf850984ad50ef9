"""
Lost factors: staff request the removal of all factors of a user. It takes effect REMOVAL_DELAY later, by `prune` or at
the next sign-in, unless staff cancel it, the user stops it by the link in the mail, or a factor is used meanwhile.
"""

from collections.abc import Iterator

from django.db import models, transaction

from accounts import links
from accounts.factors import changes
from accounts.http import request_context
from accounts.models import FactorRemoval, SecurityEvent, User

REMOVE_PERMISSION = "accounts.remove_factors"


def request(user: User) -> bool:
    """
    Requests the removal, with the actor and the reason of request_context, and mails the user a link that stops it.
    Returns False without a second factor, for a user who is not active, and if a removal is pending.
    """
    with transaction.atomic():
        locked: User | None = User.objects.filter(pk=user.pk, is_active=True).lock().first()
        if locked is None or FactorRemoval.objects.of(locked).exists() or not changes.factors_of(locked):
            return False
        FactorRemoval.objects.create(user=locked, requested_by=request_context.actor(), why=request_context.reason())
        SecurityEvent.objects.record(SecurityEvent.Type.FACTOR_REMOVAL_ASKED, locked)
        link = links.url("stop_factor_removal", locked, links.factor_removal)
        locked.notify("factor_removal_asked", link=link)
    return True


def cancel(user: User, cause: str) -> bool:
    """Cancels the pending removal, and records `cause`. Returns whether one was pending. One statement if none was."""
    with transaction.atomic():
        is_cancelled = bool(FactorRemoval.objects.of(user).delete()[0])
        if is_cancelled:
            SecurityEvent.objects.record(SecurityEvent.Type.FACTOR_REMOVAL_CANCELLED, user, cause=cause)
    return is_cancelled


def remove_at_once(user: User) -> int:
    """
    Removes all factors of the user, and ends all sign-ins, without a delay (`manage.py remove_factors`). Returns how
    many factors were removed. Raises AccountChanged for a user who is not active.
    """
    with transaction.atomic():
        removed = changes.remove_all(user)
        FactorRemoval.objects.of(user).delete()
    return removed


def get_by_token(uid: str, token: str) -> User | None:
    """Returns the user whose pending removal the link can stop, or None. At most two statements."""
    user: User | None = User.objects.get_by_token(uid, lambda user: links.factor_removal.check_token(user, token))
    return user if user and FactorRemoval.objects.of(user).exists() else None


def carry_out_due(user: User) -> bool:
    """
    Removes all factors of the user if a removal is due, and ends all sign-ins. Returns whether it did: `user` then has
    the new generation, so that a sign-in whose password was verified before can start. One statement if none is due.
    """
    if not FactorRemoval.objects.due().of(user).exists():
        return False
    with transaction.atomic():
        unchanged = User.objects.filter(pk=user.pk, password=user.password, generation=user.generation)
        locked: User | None = unchanged.lock().first()
        removal = FactorRemoval.objects.due().of(user).select_related("requested_by").first()
        if locked is None or removal is None:
            return False
        if cause := _obstacle(locked, removal):
            cancel(locked, cause)
            return False
        removal.delete()
        with request_context.acting(removal.why, removal.requested_by):
            changes.remove_all(locked)
        user.refresh_from_db(fields=["generation"])
    return True


def carry_out_all() -> Iterator[int]:
    """Carries out each removal that is due, in a transaction of its own. Yields 1 for each one, or 0."""
    for removal in FactorRemoval.objects.due().select_related("user"):
        yield int(carry_out_due(removal.user))


def _obstacle(user: User, removal: FactorRemoval) -> str:
    """
    Returns why a removal is cancelled when it is due, or "": the user is not active, a factor was used or added since,
    or the staff member could no longer request it. At most six statements.
    """
    if not user.is_active:
        return "deactivated"
    since = removal.created_at
    used = models.Q(last_used_at__gte=since) | models.Q(created_at__gte=since)
    if any(model.objects.of(user).filter(used).exists() for model in changes.FACTOR_MODELS):
        return "factor_used"
    staff = removal.requested_by
    if staff is None or not staff.is_staff or not staff.has_perm(REMOVE_PERMISSION):
        return "not_permitted"
    return "" if user.is_manageable_by(staff) else "not_permitted"
