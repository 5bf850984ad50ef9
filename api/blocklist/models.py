"""The token blocklist: tokens that are signed and unexpired, yet refused."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import SignIn
from api.blocklist import news

# An entry outlasts the tokens it concerns by this much, for nodes whose clocks differ.
MARGIN = timedelta(minutes=5)


def last_expiry() -> datetime:
    """When no access token made up to now is accepted any more, on any node."""
    return timezone.now() + settings.ACCESS_TOKEN + settings.JWT_LEEWAY + MARGIN


class EntryQuerySet(models.QuerySet["Entry"]):
    def in_force(self) -> Self:
        """Those that still have tokens to refuse."""
        return self.filter(until__gt=timezone.now())

    def delete(self) -> tuple[int, dict[str, int]]:
        """Raises ValueError for an entry that still has tokens to refuse: deleting rows never un-revokes."""
        if self.in_force().exists():
            raise ValueError("These entries are in force.")
        return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]


class EntryManager(models.Manager.from_queryset(EntryQuerySet)):  # type: ignore[misc]
    def blocks(self, sid: uuid.UUID, jti: uuid.UUID) -> bool:
        """Whether an access token of this sign-in with this id is refused. One indexed statement."""
        return self.filter(token_id__in=(sid, jti)).exists()

    def block_sign_ins(self, sids: Iterable[uuid.UUID]) -> None:
        """Refuses every access token of these sign-ins."""
        self._block(Entry.Kind.SIGN_IN, list(sids))

    def block_token(self, jti: uuid.UUID) -> None:
        """Refuses this access token alone."""
        self._block(Entry.Kind.TOKEN, [jti])

    def _block(self, kind: str, token_ids: list[uuid.UUID]) -> None:
        if not token_ids:
            return
        until = last_expiry()
        entries = [Entry(token_id=token_id, kind=kind, until=until) for token_id in token_ids]
        with transaction.atomic():
            self.bulk_create(entries, batch_size=1000)
            if settings.REDIS_URL:
                transaction.on_commit(partial(news.publish, token_ids, until))


class Entry(models.Model):
    """Only ever added: what is blocked twice has two, and a new one always has a new id, for mirrors to find it by."""

    class Kind(models.TextChoices):
        SIGN_IN = "sid", _("all tokens of a sign-in")
        TOKEN = "jti", _("a single token")

    token_id = models.UUIDField(_("sid or jti"), db_index=True)
    kind = models.CharField(max_length=3, choices=Kind)
    blocked_at = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField(db_index=True)

    objects = EntryManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("blocklist entry")
        verbose_name_plural = _("blocklist entries")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.token_id}"

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        return Entry.objects.filter(pk=self.pk).delete()


def block_ended_sign_ins(sign_ins: Sequence[SignIn], **kwargs: Any) -> None:
    """Inside the transaction that ends them. A browser has no tokens."""
    Entry.objects.block_sign_ins(each.sid for each in sign_ins if each.kind == SignIn.Kind.CLIENT)
