"""Query sets of sign-ins: which are live, and how many end at once."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts import devices
from accounts.changed_columns import ChangedColumnsQuerySet
from accounts.compiled_queries import chunks
from accounts.http import request_context
from accounts.models.choices import EndReason, SignInKind
from accounts.models.events import SecurityEvent
from accounts.models.sessions import Session
from accounts.pruning import BATCH, PrunableQuerySet
from accounts.signals import sign_ins_ended

# Sign-ins of one user that end in one step. Few have more than a handful.
MAX_ENDED_PER_TRANSACTION = 1000
# Up to so many rows are counted one by one. Of more, PostgreSQL counts those on one page in a hundred.
COUNTED_SIGN_INS = 200_000
SAMPLE_ONE_IN = 100
# How many of somebody's last sign-ins tell which devices are theirs.
DEVICES_REMEMBERED = 100


class RefreshRefused(Exception):
    """The sign-in of the refresh token has ended, or the token was used before."""


class SignInQuerySet(ChangedColumnsQuerySet[Any], PrunableQuerySet[Any]):
    def live(self) -> Self:
        now = timezone.now()
        return self.filter(ended_at__isnull=True, expires_at__gt=now, created_at__gt=now - settings.SIGN_IN_MAX)

    def ended_since(self, moment: datetime) -> Self:
        """Those that ended or ran out after that moment, the last first."""
        now = timezone.now()
        ran_out = models.Q(ended_at=None, expires_at__gt=moment, expires_at__lte=now)
        ended_or_expired_at = Coalesce("ended_at", "expires_at")
        return self.filter(models.Q(ended_at__gt=moment) | ran_out).order_by(ended_or_expired_at.desc(), "pk")

    def current_first(self, current: models.Model) -> Self:
        is_other = models.Case(models.When(pk=current.pk, then=0), default=1)
        return self.order_by(is_other, "-last_seen_at", "pk")

    def devices(self) -> set[tuple[str, devices.Device]]:
        """Kinds and devices of the newest sign-ins. One statement."""
        seen = self.order_by("-created_at").values_list("kind", "user_agent")[:DEVICES_REMEMBERED]
        return {(kind, devices.of(user_agent)) for kind, user_agent in seen}

    def manageable_by(self, staff: Any) -> Self:
        """As for users: a superuser's are ended by superusers only."""
        return self if staff.is_superuser else self.filter(user__is_superuser=False)

    def counted_by_kind(self) -> models.QuerySet[Any, tuple[str, int]]:
        return self.order_by().values_list("kind").annotate(models.Count("pk"))

    def by_kind(self) -> dict[str, int]:
        """How many there are of each."""
        return dict(self.counted_by_kind())

    def unended(self) -> Self:
        return self.filter(ended_at__isnull=True)

    def is_many(self) -> bool:
        """Whether more have not ended than end in one step."""
        return self.unended()[: MAX_ENDED_PER_TRANSACTION + 1].count() > MAX_ENDED_PER_TRANSACTION

    def prunable(self) -> Self:
        """Ended or, if nobody ended them, out of date however much they were used, SIGN_IN_KEEP_DAYS ago."""
        kept_since = timezone.now() - settings.SIGN_IN_KEEP
        ended = models.Q(ended_at__lt=kept_since)
        return self.filter(ended | models.Q(ended_at=None, created_at__lt=kept_since - settings.SIGN_IN_MAX)).order_by()

    def _delete_for_good(self, batch: list[uuid.UUID]) -> None:
        Session.objects.using(self.db).filter(sign_in__in=batch).delete()
        super()._delete_for_good(batch)

    def end(self, reason: str) -> int:
        """Ends those that have not ended, and all that hangs on them. Returns how many."""
        with transaction.atomic(using=self.db):
            ended = list(self._lock_unended())
            if ended:
                self._end_locked(ended, reason)
                sign_ins_ended.send(sender=self.model, sign_ins=ended)
        return len(ended)

    def announce_before_deletion(self) -> None:
        """Sends `sign_ins_ended` of those whose access tokens may be unexpired, since their rows are about to go."""
        may_have_tokens = timezone.now() - settings.ACCESS_TOKEN - settings.JWT_LEEWAY
        just_deleted = models.Q(end_reason=EndReason.USER_DELETED)
        if recent := list(self.filter(~just_deleted, ended_at__gt=may_have_tokens)):
            sign_ins_ended.send(sender=self.model, sign_ins=recent)

    def _lock_unended(self) -> Self:
        return self.filter(ended_at__isnull=True).order_by("pk").select_for_update(of=("self",), no_key=True)

    def _end_locked(self, ended: Sequence[Any], reason: str) -> None:
        now = timezone.now()
        rows = self.model._base_manager.using(self.db)
        for ids in chunks([sign_in.pk for sign_in in ended]):
            models.QuerySet.update(
                rows.filter(pk__in=ids),
                ended_at=now,
                end_reason=reason,
                ended_by=request_context.actor(),
            )
            Session.objects.using(self.db).filter(sign_in__in=ids).delete()
        SecurityEvent.objects.record_ends(ended, reason, rows.all())

    end.alters_data = True  # type: ignore[attr-defined]

    def end_in_batches(self, reason: str, size: int = 1000) -> Iterator[int]:
        """
        Ends, as end() does, those that are there when it begins, a transaction to a batch: no lock is held for long,
        and no list fills the memory. Yields how many each batch ended; may be left after any, and begun again.
        """
        for batch in self._unended_batches(size):
            yield batch.end(reason)

    end_in_batches.alters_data = True  # type: ignore[attr-defined]

    def end_silently_in_batches(self, reason: str, size: int = BATCH) -> Iterator[int]:
        """As end_in_batches(), for those of which `sign_ins_revoked_before` was sent: they are not told one by one."""
        for batch in self._unended_batches(size):
            with transaction.atomic(using=self.db):
                # No more of them than is told: there may be a million.
                rows: Any = batch._lock_unended().values_list("pk", "user_id", "kind", named=True)
                ended = list(rows)
                self._end_locked(ended, reason)
            yield len(ended)

    end_silently_in_batches.alters_data = True  # type: ignore[attr-defined]

    def _unended_batches(self, size: int) -> Iterator[Self]:
        # The newest first: a browser that was just signing in brings its session after the others' sessions are gone.
        unended = self.filter(ended_at__isnull=True).order_by("-pk")
        batch = list(unended.values_list("pk", flat=True)[:size])
        while batch:
            yield self.filter(pk__in=batch)
            batch = list(unended.filter(pk__lt=batch[-1]).values_list("pk", flat=True)[:size])

    def update(self, **values: Any) -> int:
        """An end that did not come by end() is announced, too. It is final."""
        if "ended_at" not in values:
            return super().update(**values)
        if values["ended_at"] is None:
            raise ValueError("A sign-in that has ended cannot go on: an end is final.")
        with transaction.atomic(using=self.db):
            ended = list(self.filter(ended_at__isnull=True))
            updated = super().update(**values)
            sign_ins_ended.send(sender=self.model, sign_ins=ended)
            return updated

    update.alters_data = True  # type: ignore[attr-defined]

    def last_expiry_of_refresh_tokens(self, made_before: datetime) -> datetime | None:
        """When the last of the good refresh tokens that were made up to then expires; None if there are none."""
        clients = self.live().filter(kind=SignInKind.CLIENT, refreshed_at__lte=made_before)
        latest: datetime | None = clients.aggregate(models.Max("expires_at"))["expires_at__max"]
        return latest


class SignInManager(models.Manager.from_queryset(SignInQuerySet)):  # type: ignore[misc]
    def live_by_kind(self) -> tuple[dict[str, int], bool]:
        """How many are live, and whether that is exact. Two statements at most."""
        live = self.live()
        if connection.vendor != "postgresql":
            # SQLite has no samples, and no millions.
            return live.by_kind(), True
        with connection.cursor() as cursor:
            table = self.model._meta.db_table
            cursor.execute("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [table])
            if cursor.fetchone()[0] <= COUNTED_SIGN_INS:
                return live.by_kind(), True
            sql, parameters = live.counted_by_kind().query.sql_with_params()
            # The same pages each time, so that the figure changes with the sign-ins only.
            sample = f'FROM "{table}" TABLESAMPLE SYSTEM ({100 / SAMPLE_ONE_IN}) REPEATABLE (1)'
            cursor.execute(sql.replace(f'FROM "{table}"', sample), parameters)
            return {kind: count * SAMPLE_ONE_IN for kind, count in cursor.fetchall()}, False

    def rotate(self, find: Callable[[], Any], refresh_id: uuid.UUID) -> Any:
        """
        Uses up a refresh token of the sign-in that `find` reads by one statement; it then has the id of its successor:
        the same one for every use within the grace period. Two statements, no lock held. Raises RefreshRefused; a token
        presented later is theft.
        """
        now = timezone.now()
        while True:
            sign_in = find()
            if sign_in is None or not sign_in.is_live(now):
                raise RefreshRefused
            if refresh_id == sign_in.refresh_id:
                if sign_in.swap_refresh_id(now):
                    return sign_in
                # Somebody else rotated it, or ended it, between the two statements: look again.
                continue
            if sign_in.is_in_grace(refresh_id, now):
                return sign_in
            sign_in.end_as_stolen()
            raise RefreshRefused
