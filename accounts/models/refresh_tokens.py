"""The rotation of a sign-in's refresh token: retries that are accepted, and theft."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.compiled_queries import CompiledUpdate
from accounts.models.choices import EndReason, EventType
from accounts.models.events import SecurityEvent


class RefreshTokens:
    """What SignIn does with its fields `refresh_id`, `previous_refresh_id` and `refreshed_at`."""

    def swap_refresh_id(self: Any, now: datetime, previous: uuid.UUID | None = None) -> bool:
        """
        Replaces the current refresh id with a new one by compare-and-swap. Returns whether it did. One statement. The
        new one is the successor of the current one, or of `previous`: then the current one is refused from now on.
        """
        successor, previous = uuid.uuid4(), previous or self.refresh_id
        expires_at = min(now + self.idle_timeout, self.max_expires_at)
        swapped = _swap_refresh_id.run(successor, previous, now, now, expires_at, self.pk, self.refresh_id)
        if swapped:
            self.previous_refresh_id, self.refresh_id = previous, successor
            self.refreshed_at = self.last_seen_at = now
            self.expires_at = expires_at
        return bool(swapped)

    def is_in_grace(self: Any, refresh_id: uuid.UUID, now: datetime) -> bool:
        """Returns whether it is the previous refresh token, within the grace period since the rotation."""
        return self._is_parent_since(refresh_id, now, settings.REFRESH_GRACE)

    def is_late_retry(self: Any, refresh_id: uuid.UUID, now: datetime) -> bool:
        """
        Returns whether it is the previous refresh token, whose successor was never used, within
        REFRESH_PARENT_GRACE_DAYS since the rotation: an app that was suspended has not received the response.
        """
        return self._is_parent_since(refresh_id, now, settings.REFRESH_PARENT_GRACE)

    def _is_parent_since(self: Any, refresh_id: uuid.UUID, now: datetime, duration: timedelta) -> bool:
        is_recent: bool = now - self.refreshed_at < duration
        return is_recent and refresh_id == self.previous_refresh_id

    def accepts_refresh(self: Any, refresh_id: uuid.UUID) -> bool:
        """Returns whether this refresh token is valid now."""
        now = timezone.now()
        is_accepted = refresh_id == self.refresh_id or self.is_in_grace(refresh_id, now)
        return (is_accepted or self.is_late_retry(refresh_id, now)) and bool(self.is_live(now))

    def end_as_stolen(self: Any) -> None:
        """
        Ends the sign-in, since a rotated refresh token was used again: a thief has a copy (RFC 9700, section 4.14.2).
        Records an event and mails a notice.
        """
        with transaction.atomic():
            if self.end(EndReason.TOKEN_REUSED):
                SecurityEvent.objects.record(EventType.TOKEN_REUSED, self.user, self)
                self.user.notify("token_reused", client=self.label)


_swap_refresh_id = CompiledUpdate(
    "accounts.SignIn",
    fields=["refresh_id", "previous_refresh_id", "refreshed_at", "last_seen_at", "expires_at"],
    where=["id", "refresh_id"],
    null=["ended_at"],
)
