"""The token blocklist: tokens that are signed and unexpired, yet refused."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import SignIn

# An entry outlasts the tokens it concerns by this much, for nodes whose clocks differ.
MARGIN = timedelta(minutes=5)


def last_expiry() -> datetime:
    """When no access token made up to now is accepted any more, on any node."""
    return timezone.now() + settings.ACCESS_TOKEN + settings.JWT_LEEWAY + MARGIN


class EntryManager(models.Manager["Entry"]):
    def blocks(self, sid: uuid.UUID, jti: uuid.UUID) -> bool:
        """Whether an access token of this sign-in with this id is refused. One indexed statement."""
        return self.filter(token_id__in=(sid, jti)).exists()

    def block_sign_ins(self, sids: Iterable[uuid.UUID]) -> None:
        """Refuses every access token of these sign-ins."""
        self._block(Entry.Kind.SIGN_IN, sids, last_expiry())

    def block_token(self, jti: uuid.UUID) -> None:
        """Refuses this access token alone."""
        self._block(Entry.Kind.TOKEN, [jti], last_expiry())

    def _block(self, kind: str, token_ids: Iterable[uuid.UUID], until: datetime) -> None:
        # Always in the same order, so that two that block the same do not wait for each other in a circle.
        self.bulk_create(
            [Entry(token_id=token_id, kind=kind, until=until) for token_id in sorted(set(token_ids))],
            batch_size=1000,
            update_conflicts=True,
            unique_fields=["token_id"],
            update_fields=["until"],
        )


class Entry(models.Model):
    class Kind(models.TextChoices):
        SIGN_IN = "sid", _("all tokens of a sign-in")
        TOKEN = "jti", _("a single token")  # noqa: S105

    token_id = models.UUIDField(_("sid or jti"), unique=True)
    kind = models.CharField(max_length=3, choices=Kind)
    blocked_at = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField(db_index=True)

    objects = EntryManager()

    class Meta:
        verbose_name = _("blocklist entry")
        verbose_name_plural = _("blocklist entries")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.token_id}"


def block_ended_sign_ins(sign_ins: Sequence[SignIn], **kwargs: Any) -> None:
    """Inside the transaction that ends them. A browser has no tokens."""
    Entry.objects.block_sign_ins(each.sid for each in sign_ins if each.kind == SignIn.Kind.CLIENT)
