"""Query set and manager of sign-ins: selections, ends of several, rotation of refresh tokens, counts for the admin."""

import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import cache
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
from accounts.models.errors import RefreshRefused
from accounts.models.events import SecurityEvent
from accounts.models.restores import RESTORED, RUN_AFTER_RESTORE
from accounts.models.sessions import Session
from accounts.pruning import BATCH_SIZE, PrunableQuerySet
from accounts.signals import sign_ins_ended

log = logging.getLogger(__name__)

# Sign-ins of one user that end in one transaction. Most users have fewer than ten.
MAX_ENDED_PER_TRANSACTION = 1000
# A table with more rows is counted by a sample: on PostgreSQL, one page in SAMPLE_ONE_IN.
MAX_COUNTED_EXACTLY = 200_000
SAMPLE_ONE_IN = 100
# Newest sign-ins of a user that are compared to decide whether a device is new.
MAX_COMPARED_SIGN_INS = 100


class SignInQuerySet(ChangedColumnsQuerySet[Any], PrunableQuerySet[Any]):
    """Selections of sign-ins, and the end of several. Each way to end them sends `sign_ins_ended`."""

    def live(self) -> Self:
        """Returns the sign-ins that have neither ended nor expired."""
        now = timezone.now()
        is_key = models.Q(kind=SignInKind.API_KEY)
        is_young = ~is_key & models.Q(created_at__gt=now - settings.SIGN_IN_MAX)
        is_young |= is_key & models.Q(created_at__gt=now - settings.API_KEY_MAX)
        return self.filter(is_young, ended_at__isnull=True, expires_at__gt=now)

    def ended_since(self, moment: datetime) -> Self:
        """Returns the sign-ins that ended or expired after `moment`, the latest first."""
        now = timezone.now()
        expired = models.Q(ended_at=None, expires_at__gt=moment, expires_at__lte=now)
        ended_or_expired_at = Coalesce("ended_at", "expires_at")
        return self.filter(models.Q(ended_at__gt=moment) | expired).order_by(ended_or_expired_at.desc(), "pk")

    def current_first(self, current: models.Model) -> Self:
        """Orders by last use, the sign-in `current` first."""
        is_other = models.Case(models.When(pk=current.pk, then=0), default=1)
        return self.order_by(is_other, "-last_seen_at", "pk")

    def devices(self) -> set[tuple[str, devices.Device]]:
        """Returns the kinds and devices of the newest MAX_COMPARED_SIGN_INS. One statement."""
        newest = self.order_by("-created_at").values_list("kind", "user_agent")[:MAX_COMPARED_SIGN_INS]
        return {(kind, devices.of(user_agent)) for kind, user_agent in newest}

    def manageable_by(self, staff: Any) -> Self:
        """Returns the sign-ins that a staff member may end: only superusers may end those of superusers."""
        return self if staff.is_superuser else self.filter(user__is_superuser=False)

    def counted_by_kind(self) -> models.QuerySet[Any, tuple[str, int]]:
        """Returns a query of each kind with its number of sign-ins."""
        return self.order_by().values_list("kind").annotate(models.Count("pk"))

    def by_kind(self) -> dict[str, int]:
        """Returns the number of sign-ins of each kind. One statement."""
        return dict(self.counted_by_kind())

    def unended(self) -> Self:
        """Returns the sign-ins that have not ended, expired ones included."""
        return self.filter(ended_at__isnull=True)

    def is_wholesale(self) -> bool:
        """Returns whether more sign-ins are unended than MAX_ENDED_PER_TRANSACTION. One statement."""
        return self.unended()[: MAX_ENDED_PER_TRANSACTION + 1].count() > MAX_ENDED_PER_TRANSACTION

    def prunable(self) -> Self:
        """Returns those that ended, or reached their maximum age without an end, SIGN_IN_KEEP_DAYS ago."""
        kept_since = timezone.now() - settings.SIGN_IN_KEEP
        ended = models.Q(ended_at__lt=kept_since)
        is_old = models.Q(ended_at=None, created_at__lt=kept_since - settings.SIGN_IN_MAX)
        is_valid_key = models.Q(kind=SignInKind.API_KEY, expires_at__gte=kept_since)
        return self.filter(ended | is_old & ~is_valid_key).order_by()

    def _delete_for_good(self, batch: list[uuid.UUID]) -> None:
        Session.objects.using(self.db).filter(sign_in__in=batch).delete_silently()
        super()._delete_for_good(batch)

    def end(self, reason: str) -> int:
        """Ends the sign-ins that have not ended, and revokes their sessions and tokens. Returns how many."""
        with transaction.atomic(using=self.db):
            ended = list(self._lock_unended())
            if ended:
                self._end_locked(ended, reason)
                sign_ins_ended.send(sender=self.model, sign_ins=ended)
        return len(ended)

    def announce_before_deletion(self) -> None:
        """Sends `sign_ins_ended` again for ended sign-ins whose access tokens may be unexpired, before a deletion."""
        tokens_unexpired_since = timezone.now() - settings.ACCESS_TOKEN - settings.JWT_LEEWAY
        just_announced = models.Q(end_reason=EndReason.USER_DELETED)
        if recent := list(self.filter(~just_announced, ended_at__gt=tokens_unexpired_since)):
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
                is_end_announced=True,
                end_reason=reason,
                ended_by=request_context.actor(),
            )
            Session.objects.using(self.db).filter(sign_in__in=ids).delete_silently()
        SecurityEvent.objects.record_ends(ended, reason, rows.all())

    end.alters_data = True  # type: ignore[attr-defined]

    def end_in_batches(self, reason: str, size: int = 1000) -> Iterator[int]:
        """
        As end(), with one transaction for each batch, so that locks are short and lists are small. Yields how many each
        batch ended. It may stop after any batch and be started again.
        """
        for batch in self._unended_batches(size):
            yield batch.end(reason)

    end_in_batches.alters_data = True  # type: ignore[attr-defined]

    def end_silently_in_batches(self, reason: str, size: int = BATCH_SIZE) -> Iterator[int]:
        """As end_in_batches(), for sign-ins already revoked by `sign_ins_revoked_before`: sends no `sign_ins_ended`."""
        for batch in self._unended_batches(size):
            with transaction.atomic(using=self.db):
                # Only the columns that events need, since there may be a million rows.
                rows: Any = batch._lock_unended().values_list("pk", "user_id", "kind", named=True)
                ended = list(rows)
                self._end_locked(ended, reason)
            yield len(ended)

    end_silently_in_batches.alters_data = True  # type: ignore[attr-defined]

    def _unended_batches(self, size: int) -> Iterator[Self]:
        # The newest first, since a sign-in that is starting may add a session after the others' sessions were deleted.
        unended = self.filter(ended_at__isnull=True).order_by("-pk")
        batch = list(unended.values_list("pk", flat=True)[:size])
        while batch:
            yield self.filter(pk__in=batch)
            batch = list(unended.filter(pk__lt=batch[-1]).values_list("pk", flat=True)[:size])

    def update(self, **values: Any) -> int:
        """As Django's. Setting `ended_at` also sends `sign_ins_ended`; clearing it raises ValueError."""
        if "ended_at" not in values:
            return super().update(**values)
        if values["ended_at"] is None:
            raise ValueError("A sign-in that has ended cannot be resumed: an end is final.")
        with transaction.atomic(using=self.db):
            ended = list(self.filter(ended_at__isnull=True))
            updated = super().update(**values | {"is_end_announced": True})
            sign_ins_ended.send(sender=self.model, sign_ins=ended)
            return updated

    update.alters_data = True  # type: ignore[attr-defined]

    def last_expiry_of_refresh_tokens(self, made_before: datetime) -> datetime | None:
        """Returns when the last valid refresh token made up to `made_before` expires, or None."""
        clients = self.live().filter(kind=SignInKind.CLIENT, refreshed_at__lte=made_before)
        latest: datetime | None = clients.aggregate(models.Max("expires_at"))["expires_at__max"]
        return latest


class SignInManager(models.Manager.from_queryset(SignInQuerySet)):  # type: ignore[misc]
    """The count of live sign-ins for the admin, and the rotation of refresh tokens."""

    def live_by_kind(self) -> tuple[dict[str, int], bool]:
        """
        Returns the number of live sign-ins of each kind, and whether it is exact. On PostgreSQL, a large table is
        counted by TABLESAMPLE, which the ORM does not have, since an exact count reads millions of rows. At most two
        statements.
        """
        live = self.live()
        if connection.vendor != "postgresql":
            # SQLite has no TABLESAMPLE.
            return live.by_kind(), True
        with connection.cursor() as cursor:
            table = self.model._meta.db_table
            cursor.execute("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [table])
            if cursor.fetchone()[0] <= MAX_COUNTED_EXACTLY:
                return live.by_kind(), True
            sql, parameters = live.counted_by_kind().query.sql_with_params()
            # REPEATABLE reads the same pages each time, so that the number changes only with the sign-ins.
            sample = f'FROM "{table}" TABLESAMPLE SYSTEM ({100 / SAMPLE_ONE_IN}) REPEATABLE (1)'
            cursor.execute(sql.replace(f'FROM "{table}"', sample), parameters)
            return {kind: count * SAMPLE_ONE_IN for kind, count in cursor.fetchall()}, False

    def rotate(self, find: Callable[[], Any], refresh_id: uuid.UUID, issued_at: datetime) -> Any:
        """
        Rotates the refresh token of the sign-in that `find` reads with one statement, and returns the sign-in with the
        id of the successor: the same one for each use in the grace period. A late retry (SignIn.is_late_retry) gets a
        new successor, in place of the one that was never used. Two statements without a lock. Raises RefreshRefused; a
        use later than that also ends the sign-in as stolen, or as restored if the row is older than the token.
        """
        now = timezone.now()
        while True:
            sign_in = find()
            if sign_in is None or not sign_in.is_live(now):
                raise RefreshRefused
            if refresh_id == sign_in.refresh_id:
                if sign_in.swap_refresh_id(now):
                    return sign_in
                # Another request rotated or ended it between the two statements: read it again.
                continue
            if sign_in.is_in_grace(refresh_id, now):
                return sign_in
            if sign_in.is_late_retry(refresh_id, now):
                if sign_in.swap_refresh_id(now, previous=refresh_id):
                    return sign_in
                continue
            if issued_at - sign_in.refreshed_at > settings.JWT_LEEWAY:
                _end_as_restored(sign_in)
            else:
                sign_in.end_as_stolen()
            raise RefreshRefused


def _end_as_restored(sign_in: Any) -> None:
    """
    Ends a sign-in whose row is older than its refresh token, by more than clocks may differ: the database has lost a
    refresh. The client is no thief, but a refresh token that was used since is valid again.
    """
    _log_lost_changes()
    with request_context.acting(RESTORED):
        sign_in.end(EndReason.ENDED_BY_STAFF)


@cache
def _log_lost_changes() -> None:
    """Logs it once for each process."""
    log.error("A refresh token is newer than its sign-in: the database has lost changes. %s", RUN_AFTER_RESTORE)
