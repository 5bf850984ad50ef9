"""
Quotas of notices, counted when they are sent, so that no act locks the rows of the counters: by the hour for each
account and each mailbox. One summary replaces the notices beyond the quota.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.apps import apps
from django.db import models
from django.utils import timezone

from accounts import quotas, rate_limits
from accounts.letters import Letter

# Values of Letter.quota.
NOTICE, PAUSE = "notice", "pause"
SUMMARY_PERIOD = timedelta(hours=1)


class Decision(NamedTuple):
    is_sent: bool
    # A summary of the events of the hour is sent as well, or instead.
    needs_summary: bool = False


def count(letter: Letter) -> Decision:
    """Counts a mail to an account against its quota. Two statements within the quota; none for a mail without one."""
    if not letter.quota or letter.user_id is None:
        return Decision(is_sent=True)
    of_notices = quotas.notices(letter.user_id, letter.address)
    if letter.quota == PAUSE:
        return Decision(_is_within([*quotas.pauses(UUID(letter.context["account"])), *of_notices]))
    if _is_within(of_notices):
        return Decision(is_sent=True)
    is_sent = bool(letter.urgent) and _is_within(quotas.urgent_notices(letter.user_id, letter.address, letter.urgent))
    return Decision(is_sent, _is_within(quotas.summaries(letter.user_id, letter.address)))


def recent_events(user_id: int) -> list[tuple[Any, int]]:
    """Returns the labels of the event types of the last hour, with the number of events. One statement."""
    events: Any = apps.get_model("accounts.SecurityEvent")
    recent = events.objects.filter(user=user_id, created_at__gt=timezone.now() - SUMMARY_PERIOD)
    counted = recent.order_by("type").values_list("type").annotate(models.Count("pk"))
    # A node of a newer release may have recorded a type that this code does not know.
    labels = dict(events.Type.choices)
    return [(labels.get(kind, kind), number) for kind, number in counted]


def _is_within(sources: Sequence[rate_limits.Source]) -> bool:
    counters: Any = apps.get_model("accounts.AttemptCounter")
    try:
        counters.objects.consume_quota(sources)
    except rate_limits.TooManyAttempts:
        return False
    return True
