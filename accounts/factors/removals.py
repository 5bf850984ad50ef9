"""
Removal of lost factors by staff: after a day, which the mail to the user can stop. It is carried out at the next
sign-in with the right password. `changes.remove_all` removes them at once.
"""

from datetime import timedelta

from django.core import signing
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from accounts import mail
from accounts.factors import changes
from accounts.http import request_context
from accounts.models import FactorRemoval, SecurityEvent, User

DELAY = timedelta(hours=24)
SALT = "accounts.factor_removal"


def request(user: User, staff: User, why: str) -> FactorRemoval | None:
    """
    Requests the removal of all factors, and mails the link that stops it. None if one is pending already.
    Raises ValidationError without a reason.
    """
    removal = FactorRemoval(user=user, requested_by=staff, why=why, due_at=timezone.now() + DELAY)
    removal.clean_fields(exclude=["closed_at"])
    with request_context.acting(why, staff):
        try:
            with transaction.atomic():
                removal.save(force_insert=True)
                SecurityEvent.objects.record(SecurityEvent.Type.FACTOR_REMOVAL_ASKED, user)
                path = reverse("stop_factor_removal", args=[signing.dumps(str(removal.pk), salt=SALT)])
                mail.send_later("factor_removal", user, link=request_context.absolute_url(path))
        except IntegrityError:
            return None
    return removal


def get_by_token(token: str) -> FactorRemoval | None:
    """Returns the pending removal of a mailed link, with its user; None for an invalid link. One statement."""
    try:
        pk = signing.loads(token, salt=SALT, max_age=DELAY)
        return FactorRemoval.objects.select_related("user").get(pk=pk, closed_at=None)
    except (signing.BadSignature, FactorRemoval.DoesNotExist, ValidationError, ValueError):
        return None


def stop(removal: FactorRemoval) -> bool:
    """Stops a pending removal. Returns whether it was pending."""
    with transaction.atomic():
        is_stopped = removal.close()
        if is_stopped:
            SecurityEvent.objects.record(SecurityEvent.Type.FACTOR_REMOVAL_STOPPED, removal.user)
    return is_stopped


def carry_out_if_due(user: User) -> bool:
    """
    Removes all factors of a user whose password was just verified on this instance, if a removal is due. Returns
    whether it did; the sign-in may then start. One statement if none is due.
    """
    removal = FactorRemoval.objects.filter(user=user.pk, closed_at=None, due_at__lte=timezone.now()).first()
    if removal is None:
        return False
    with request_context.acting(removal.why, removal.requested_by), transaction.atomic():
        if not removal.close():
            return False
        changes.remove_all(user)
    return True
