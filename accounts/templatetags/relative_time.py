"""The template filter of relative times, with texts of our own: Django's `naturaltime` names two units."""

from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext_lazy

register = template.Library()

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MONTH, YEAR = timedelta(days=30), timedelta(days=365)
# Up to which distance each unit is used. Below two months, days are more exact: "45 days ago", not "1 month ago".
UNITS: tuple[tuple[timedelta, timedelta, Any, Any], ...] = (
    (
        HOUR,
        MINUTE,
        ngettext_lazy("%(count)d minute ago", "%(count)d minutes ago", "count"),
        ngettext_lazy("in %(count)d minute", "in %(count)d minutes", "count"),
    ),
    (
        DAY,
        HOUR,
        ngettext_lazy("%(count)d hour ago", "%(count)d hours ago", "count"),
        ngettext_lazy("in %(count)d hour", "in %(count)d hours", "count"),
    ),
    (
        2 * MONTH,
        DAY,
        ngettext_lazy("%(count)d day ago", "%(count)d days ago", "count"),
        ngettext_lazy("in %(count)d day", "in %(count)d days", "count"),
    ),
    (
        2 * YEAR,
        MONTH,
        ngettext_lazy("%(count)d month ago", "%(count)d months ago", "count"),
        ngettext_lazy("in %(count)d month", "in %(count)d months", "count"),
    ),
    (
        timedelta.max,
        YEAR,
        ngettext_lazy("%(count)d year ago", "%(count)d years ago", "count"),
        ngettext_lazy("in %(count)d year", "in %(count)d years", "count"),
    ),
)


@register.filter
def relative_time(at: datetime) -> str:
    """Returns the distance to now in one unit, rounded down: "3 days ago", "in 13 days", "just now"."""
    distance = at - timezone.now()
    is_past = distance <= timedelta(0)
    distance = abs(distance)
    if distance < MINUTE:
        return _("just now") if is_past else _("in less than a minute")
    _limit, unit, past, future = next(each for each in UNITS if distance < each[0])
    return str((past if is_past else future) % {"count": distance // unit})
