"""Attempt counters: the number of password guesses, mails and sign-ups of each source."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import connections, models, transaction
from django.db.models.functions import Greatest, Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import guess_limits, hashing, notices, rate_limits
from accounts.models.choices import EventType
from accounts.models.events import SecurityEvent
from accounts.pruning import PrunableQuerySet

# The owner of an account gets a mail if the next guess has to wait this long. Shorter waits follow a few typing errors.
REPORTED_WAIT = timedelta(minutes=1)


@dataclass(frozen=True)
class Attempt:
    """A password guess that was counted and is being checked. Until it succeeds, it counts as wrong."""

    counters: list["AttemptCounter"]

    @contextmanager
    def hashing_slot(self, known: str) -> Iterator[None]:
        """As hashing.hashing_slot(). If there is no slot, cancels the attempt and raises HashingOverloaded."""
        with ExitStack() as slot:
            try:
                slot.enter_context(hashing.hashing_slot(known))
            except hashing.HashingOverloaded:
                self.cancel()
                raise
            yield

    def cancel(self) -> None:
        """Subtracts the guess. A wait that another guess has caused since then stays. One statement."""
        now = timezone.now()
        own_wait = max((counter.until for counter in self.counters), default=now)
        wait_of_others = models.When(until__gt=own_wait, then=models.F("until"))
        AttemptCounter.objects.filter(pk__in=[counter.pk for counter in self.counters]).update(
            count=Greatest(models.F("count") - 1, 0), until=models.Case(wait_of_others, default=now)
        )

    def succeeded(self) -> None:
        """
        Resets the counters of the account, and subtracts the guess from the counter of the address, which other
        accounts share. One statement.
        """
        now = timezone.now()
        of_address = models.Q(kind=rate_limits.Kind.ADDRESS)
        own_waits = (counter.until for counter in self.counters if counter.kind == rate_limits.Kind.ADDRESS)
        # Another guess from the address may have caused a longer wait since then.
        wait_of_others = of_address & models.Q(until__gt=max(own_waits, default=now))
        AttemptCounter.objects.filter(pk__in=[counter.pk for counter in self.counters]).update(
            count=models.Case(models.When(of_address, then=Greatest(models.F("count") - 1, 0)), default=0),
            until=models.Case(models.When(wait_of_others, then=models.F("until")), default=now),
        )

    def failed(self, user: Any) -> None:
        """
        Records a LOCKED event for each counter whose limit the guess has reached. Mails the owner of the account at
        most once a day.
        """
        locked = [counter for counter in self.counters if counter.is_locked_out]
        if not locked:
            return
        with transaction.atomic():
            of_account = [counter.pk for counter in locked if counter.account]
            AttemptCounter.objects.filter(pk__in=of_account).update(user=user)
            for counter in locked:
                until = counter.until.isoformat(timespec="seconds")
                owner = user if counter.account else None
                SecurityEvent.objects.record(EventType.LOCKED, owner, kind=counter.kind, until=until)
            self._report_pause(user, locked)

    def _report_pause(self, user: Any, locked: Sequence["AttemptCounter"]) -> None:
        # Wrong codes have a notice of their own.
        reported = [each for each in locked if each.kind in rate_limits.PASSWORDS_OF_ACCOUNT and each.is_long]
        if reported and (account := reported[0].account):
            by_strangers = all(each.kind in rate_limits.BY_STRANGERS for each in reported)
            notices.send_pause_later(account, user, by_strangers)


class AttemptCounterQuerySet(PrunableQuerySet["AttemptCounter"]):
    """Selections of counters, and their deletion by staff, by a password reset, or when they are out of date."""

    def locked_out(self) -> Self:
        """Returns the counters whose next attempt is refused, as AttemptCounter.is_locked_out."""
        wait = [models.Q(kind=kind, count__gte=limit.free_attempts) for kind, limit in rate_limits.LIMITS.items()]
        return self.filter(models.Q(*wait, _connector=models.Q.OR), until__gt=timezone.now())

    def of(self, user: AbstractBaseUser) -> Self:
        """Returns the counters of this user's name and known browsers, whether or not the guesses were the user's."""
        return self.filter(account__in=guess_limits.username_digests(user.get_username()))

    def prunable(self) -> Self:
        """Returns the counters whose wait is over and whose window, the longest of any limit, has passed."""
        now = timezone.now()
        return self.filter(until__lte=now, since__lt=now - max(limit.window for limit in rate_limits.LIMITS.values()))

    def lift(self) -> int:
        """Deletes these counters, so that guesses are checked again. Returns how many were locked out."""
        with transaction.atomic(using=self.db):
            counters = list(self.select_related("user").select_for_update(of=("self",)))
            self.model.objects.using(self.db).filter(pk__in=[counter.pk for counter in counters]).delete()
            locked = [counter for counter in counters if counter.is_locked_out]
            for counter in locked:
                SecurityEvent.objects.record(EventType.UNLOCKED, counter.user, kind=counter.kind)
        return len(locked)

    lift.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        """As Django's. Clears this process's cache of refusals."""
        rate_limits.recent_refusals.clear()
        return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]


class AttemptCounterManager(models.Manager.from_queryset(AttemptCounterQuerySet)):  # type: ignore[misc]
    def start_attempt(self, sources: Sequence[rate_limits.Source]) -> Attempt:
        """
        Counts a password guess before it is checked, so that simultaneous guesses do not pass the limit. Two
        statements. Raises TooManyAttempts, and counts nothing, if one of its sources has to wait.
        """
        return Attempt(self._count(sources))

    def consume_quota(self, sources: Sequence[rate_limits.Source]) -> None:
        """
        Counts a mail or a sign-up before it takes place. Two statements. Raises TooManyAttempts, and counts nothing, if
        one of its quotas is used up.
        """
        self._count(sources)

    def _count(self, sources: Sequence[rate_limits.Source]) -> list["AttemptCounter"]:
        if not sources:
            return []
        rate_limits.recent_refusals.check(sources)
        now = timezone.now()
        # Sorted: a fixed order of the row locks avoids deadlocks.
        counters = [
            AttemptCounter(
                pk=source.key,
                kind=source.kind,
                account=source.account,
                ip_address=source.ip_address,
                count=0,
                since=now,
                until=now,
            )
            for source in sorted(sources, key=attrgetter("key"))
        ]
        try:
            self._add(counters, now)
        except rate_limits.TooManyAttempts:
            self._cache_refusals(counters)
            raise
        return counters

    def _add(self, counters: list["AttemptCounter"], now: datetime) -> None:
        with transaction.atomic():
            # Inserts the missing rows, locks all, and reads them: an upsert returns the fields that have a db_default.
            self.bulk_create(counters, update_conflicts=True, unique_fields=["id"], update_fields=["kind"])
            if locked := {counter.kind: counter.until for counter in counters if counter.is_locked_out}:
                raise rate_limits.TooManyAttempts(
                    max(locked.values()), by_strangers=locked.keys() == {rate_limits.Kind.ACCOUNT}
                )
            for counter in counters:
                counter.add(now)
            # Again an upsert: the CASE of bulk_update() takes longer to compile than the statement to run.
            self.bulk_create(
                counters, update_conflicts=True, unique_fields=["id"], update_fields=["count", "since", "until"]
            )

    def _cache_refusals(self, counters: Sequence["AttemptCounter"]) -> None:
        # If the caller's transaction is rolled back, so is the counter that was read.
        if not connections[self.db].in_atomic_block:
            for counter in counters:
                if counter.is_locked_out:
                    rate_limits.recent_refusals.add(counter.pk, counter.until)


class AttemptCounter(models.Model):
    """
    The number of attempts from one source, and the time before which the next one is refused. It is in the database, so
    that the loss of Redis data resets no counter. A username is stored as a keyed digest only.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    kind = models.CharField(max_length=10, choices=rate_limits.kinds)
    account = models.UUIDField(_("digest of the username"), null=True, db_index=True, editable=False)
    # The account with that name, if there is one. Set when the counter is locked out.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="attempt_counters"
    )
    ip_address = models.GenericIPAddressField(_("IP address or IPv6 network"), null=True)
    count = models.PositiveIntegerField(_("attempts"), db_default=0)
    since = models.DateTimeField(db_default=Now())
    until = models.DateTimeField(_("locked until"), db_default=Now(), db_index=True)

    objects = AttemptCounterManager()

    class Meta:
        verbose_name = _("attempt counter")
        verbose_name_plural = _("attempt counters")
        # The table keeps the name of an earlier release.
        db_table = "accounts_lock"
        base_manager_name = "objects"
        ordering = ["-until"]
        default_permissions = []
        permissions = [("view_lock", "Can view locks"), ("lift_lock", "Can lift locks")]

    def __str__(self) -> str:
        return self.get_kind_display()

    @property
    def limit(self) -> rate_limits.Limit:
        """The limit of this kind of counter, for its client."""
        return rate_limits.limit_of(rate_limits.Kind(self.kind), self.ip_address)

    @property
    def is_locked_out(self) -> bool:
        """Whether the next attempt is refused."""
        # `until` alone is not enough: a node whose clock is ahead writes a future time for attempts that need not wait.
        return self.count >= self.limit.free_attempts and self.until > timezone.now()

    @property
    def is_long(self) -> bool:
        """Whether the next attempt has to wait for REPORTED_WAIT or longer."""
        return self.limit.wait(self.count) >= REPORTED_WAIT

    def add(self, now: datetime) -> None:
        """Adds an attempt, and sets the time before which the next one is refused."""
        if now - self.since >= self.limit.window:
            self.count, self.since = 0, now
        self.count += 1
        self.until = now + self.limit.wait(self.count)
