"""Limits of sign-ins that are shorter than those of all users: for staff members, and for members of groups."""

from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings

from accounts.models.choices import SignInKind

# Of a sign-in in which a staff member acts as the user (accounts.support).
SUPPORT_MAX = timedelta(minutes=30)


class Limits(NamedTuple):
    """How long a sign-in may be unused, and how long it may last at all. None: as for all users."""

    idle: timedelta | None = None
    max_age: timedelta | None = None


def shortest(*durations: timedelta | None) -> timedelta | None:
    """Returns the shortest duration. None and zero are no limit."""
    return min(filter(None, durations), default=None)


def limits_of(user: Any, kind: str) -> Limits:
    """
    Returns the strictest limits that apply to a sign-in of this kind: none for an API key, which has an expiry of its
    own. One statement if GROUP_LIMITS is set, otherwise none.
    """
    if kind == SignInKind.API_KEY:
        return Limits()
    found = [Limits(settings.STAFF_IDLE, settings.STAFF_MAX)] if user.is_staff else []
    if settings.GROUP_LIMITS:
        names = user.groups.filter(name__in=settings.GROUP_LIMITS).values_list("name", flat=True)
        found += [Limits(*settings.GROUP_LIMITS[name]) for name in names]
    return Limits(shortest(*(each.idle for each in found)), shortest(*(each.max_age for each in found)))
