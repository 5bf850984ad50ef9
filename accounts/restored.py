"""What a restore from a backup brings back: codes, links, steps and requests that were used or stopped since then."""

import time
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.utils import timezone

from accounts.factors import removals, totp
from accounts.models import AuthenticatorApp, FactorRemoval, Restore, SecurityEvent, User


class Found(NamedTuple):
    """What was found in a restored database: the time of its last event, and the removals that were stopped."""

    last_event_at: datetime | None
    stopped_removals: int


def refuse_what_was_used() -> Found:
    """
    Refuses links and steps that were issued up to now, and codes of authenticator apps up to the next minute. Stops
    pending removals of second factors: their users may have stopped them. Restarts the time in which unused accounts
    are deleted: they may have been used.
    """
    with transaction.atomic():
        last_event_at = SecurityEvent.objects.order_by("-pk").values_list("created_at", flat=True).first()
        Restore.objects.record()
        AuthenticatorApp.objects.update(last_used_step=int(time.time()) // totp.STEP_SECONDS + totp.WINDOW)
        User.objects.exclude(unused_since=None).update(unused_since=timezone.now())
        pending = FactorRemoval.objects.pending().select_related("user")
        return Found(last_event_at, sum(removals.stop(each, cause="restored") for each in pending))
