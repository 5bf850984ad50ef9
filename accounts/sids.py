"""Ids of sign-ins (UUIDv7): each contains the time of its creation, so that a token shows when its sign-in started."""

import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.utils import timezone

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
# The last millisecond that a datetime represents.
MAX_MILLISECONDS = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MILLISECOND


def new(moment: datetime | None = None) -> UUID:
    """Returns the id of a sign-in that starts at `moment`: a UUIDv7 (RFC 9562, section 5.7) with 74 random bits."""
    milliseconds = ((moment or timezone.now()) - EPOCH) // MILLISECOND
    return UUID(int=milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62))


def started(sid: UUID) -> int:
    """Returns the start of a sign-in in milliseconds since 1970; 0 for an id without a time (UUIDv4, old releases)."""
    number = sid.int
    return number >> 80 if number >> 76 & 0xF == 7 else 0


def started_at(sid: UUID) -> datetime:
    """Returns the start of a sign-in; 1970 for an id without a time."""
    return EPOCH + min(started(sid), MAX_MILLISECONDS) * MILLISECOND


def just_after(moment: datetime) -> datetime:
    """Returns the next whole millisecond: later than the start of each sign-in that started up to `moment`."""
    return EPOCH + ((moment - EPOCH) // MILLISECOND + 1) * MILLISECOND
