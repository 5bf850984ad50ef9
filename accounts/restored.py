"""What a restore from a backup brings back: codes, links, steps and requests that were used or stopped since then."""

import time
from datetime import datetime
from typing import NamedTuple

from django.db import models, transaction
from django.utils import timezone

from accounts.factors import removals, totp
from accounts.models import AuthenticatorApp, FactorRemoval, Restore, SecurityEvent, User
from accounts.models.restores import RESTORED


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
        # Without the events of this command, which may be repeated.
        of_others = models.Q(details__why__isnull=True) | ~models.Q(details__why=RESTORED)
        events = SecurityEvent.objects.filter(of_others).order_by("-pk")
        last_event_at = events.values_list("created_at", flat=True).first()
        Restore.objects.record()
        AuthenticatorApp.objects.update(last_used_step=int(time.time()) // totp.STEP_SECONDS + totp.WINDOW)
        User.objects.exclude(unused_since=None).update(unused_since=timezone.now())
        pending = FactorRemoval.objects.pending().select_related("user")
        return Found(last_event_at, sum(removals.stop(each, cause="restored") for each in pending))
