"""Ids of sign-ins. Each begins with the moment it was made, so that a token tells when its sign-in started."""

import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.utils import timezone

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
# Beyond it there are no dates; no id that we made comes near.
LATEST = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MILLISECOND


def new(moment: datetime | None = None) -> UUID:
    """Of a sign-in that starts then. RFC 9562, section 5.7: 48 bits of milliseconds, and 74 random ones."""
    milliseconds = ((moment or timezone.now()) - EPOCH) // MILLISECOND
    return UUID(int=milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62))


def started(sid: UUID) -> int:
    """In milliseconds since 1970; 0 for an id that does not tell (version 4, of before), older than any moment."""
    number = sid.int
    return number >> 80 if number >> 76 & 0xF == 7 else 0


def started_at(sid: UUID) -> datetime:
    return EPOCH + min(started(sid), LATEST) * MILLISECOND


def just_after(moment: datetime) -> datetime:
    """The millisecond that follows: whatever started up to the moment started before it."""
    return EPOCH + ((moment - EPOCH) // MILLISECOND + 1) * MILLISECOND
