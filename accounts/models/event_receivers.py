"""The model of a receiver of security events: what `manage.py forward_events` has sent to it."""

from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from django.db import models


class EventReceiverManager(models.Manager["EventReceiver"]):
    def configured(self) -> "EventReceiver | None":
        """Returns the receiver of EVENTS_URL; None if it is not set, or nothing was sent yet. At most one statement."""
        return self.filter(name=name_of(settings.EVENTS_URL)).first() if settings.EVENTS_URL else None

    def sent_through(self) -> int | None:
        """
        Returns the id up to which every event was sent; None if EVENTS_URL is not set, so that no event waits. At most
        one statement.
        """
        if not settings.EVENTS_URL:
            return None
        receiver = self.configured()
        return receiver.sent_through if receiver else 0


class EventReceiver(models.Model):
    """
    What was sent to a receiver: all events up to `last_id`, except those of `gaps`. A gap is a list of its first and
    last id, and of the transactions that may still commit an event in it (project.forwarding.cursor).
    """

    name = models.CharField(max_length=255, unique=True)
    last_id = models.BigIntegerField(default=0, db_default=0)
    gaps = models.JSONField(default=list)
    sent_at = models.DateTimeField(null=True)

    objects: ClassVar[EventReceiverManager] = EventReceiverManager()

    class Meta:
        # No page shows it.
        default_permissions = ()

    def __str__(self) -> str:
        return self.name

    @property
    def sent_through(self) -> int:
        """The id up to which every event was sent. Later ones may have been sent, too."""
        return min([self.last_id, *(first - 1 for first, _last, _writers in self.gaps)])

    def advance(self, last_id: int, gaps: list[Any], now: datetime) -> None:
        """Stores what was sent. One statement."""
        self.last_id, self.gaps, self.sent_at = last_id, gaps, now
        self.save(update_fields=["last_id", "gaps", "sent_at"])


def name_of(url: str) -> str:
    """Returns the name of a receiver: its URL without user name, password and options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:255]
