"""Attempt counters: how many password guesses and mails there were, by what counts together."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import connections, models, transaction
from django.db.models.functions import Greatest, Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import guess_limits, hashing, rate_limits
from accounts.models.choices import EventType
from accounts.models.events import SecurityEvent
from accounts.pruning import PrunableQuerySet


@dataclass(frozen=True)
class Attempt:
    """A guess that is being checked. It counts as wrong until it turns out to be right."""

    counts: list["AttemptCounter"]

    @contextmanager
    def hashing_slot(self, known: str) -> Iterator[None]:
        """A slot for hashing. If there is none, the attempt is cancelled and HashingOverloaded raised."""
        with ExitStack() as slot:
            try:
                slot.enter_context(hashing.hashing_slot(known))
            except hashing.HashingOverloaded:
                self.cancel()
                raise
            yield

    def cancel(self) -> None:
        """One statement. A wait that another guess has caused meanwhile goes on."""
        now = timezone.now()
        own = max((count.until for count in self.counts), default=now)
        waits_for_others = models.When(until__gt=own, then=models.F("until"))
        AttemptCounter.objects.filter(pk__in=[count.pk for count in self.counts]).update(
            count=Greatest(models.F("count") - 1, 0), until=models.Case(waits_for_others, default=now)
        )

    def succeeded(self) -> None:
        """Takes it back; a success clears the counts of its own account, never those of the address. One statement."""
        now = timezone.now()
        of_address = models.Q(kind=rate_limits.Kind.ADDRESS)
        own = max((count.until for count in self.counts if count.kind == rate_limits.Kind.ADDRESS), default=now)
        # Another guess from there may have made it wait since.
        waits_for_others = of_address & models.Q(until__gt=own)
        AttemptCounter.objects.filter(pk__in=[count.pk for count in self.counts]).update(
            count=models.Case(models.When(of_address, then=Greatest(models.F("count") - 1, 0)), default=0),
            until=models.Case(models.When(waits_for_others, then=models.F("until")), default=now),
        )

    def failed(self, user: Any) -> None:
        """Says so if nobody may guess for a while now."""
        locked = [count for count in self.counts if count.is_locked_out]
        if not locked:
            return
        with transaction.atomic():
            AttemptCounter.objects.filter(pk__in=[count.pk for count in locked if count.account]).update(user=user)
            for count in locked:
                whom = user if count.account else None
                SecurityEvent.objects.record(
                    EventType.LOCKED, whom, kind=count.kind, until=count.until.isoformat(timespec="seconds")
                )


class AttemptCounterQuerySet(PrunableQuerySet["AttemptCounter"]):
    def locked_out(self) -> Self:
        """See AttemptCounter.is_locked_out."""
        wait = [models.Q(kind=kind, count__gte=limit.free) for kind, limit in rate_limits.LIMITS.items()]
        return self.filter(models.Q(*wait, _connector=models.Q.OR), until__gt=timezone.now())

    def of(self, user: AbstractBaseUser) -> Self:
        """Of whoever gave this user's name, and of the browsers where the user is known."""
        return self.filter(account__in=guess_limits.username_digests(user.get_username()))

    def prunable(self) -> Self:
        now = timezone.now()
        return self.filter(until__lte=now, since__lt=now - max(limit.memory for limit in rate_limits.LIMITS.values()))

    def lift(self) -> int:
        """Forgets these counts, so that guesses are heard again. Returns how many were locked."""
        with transaction.atomic(using=self.db):
            lifted = list(self.select_related("user").select_for_update(of=("self",)))
            self.model.objects.using(self.db).filter(pk__in=[each.pk for each in lifted]).delete()
            locked = [each for each in lifted if each.is_locked_out]
            for each in locked:
                SecurityEvent.objects.record(EventType.UNLOCKED, each.user, kind=each.kind)
        return len(locked)

    lift.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        rate_limits.recent_refusals.clear()
        return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]


class AttemptCounterManager(models.Manager.from_queryset(AttemptCounterQuerySet)):  # type: ignore[misc]
    def start_attempt(self, sources: Sequence[rate_limits.Source]) -> Attempt:
        """
        Counts a guess before it is checked, so that guesses at the same time do not slip past. Two statements; raises
        TooManyAttempts, and counts nothing, if any of its sources has to wait.
        """
        if not sources:
            return Attempt([])
        rate_limits.recent_refusals.check(sources)
        now = timezone.now()
        # Everybody locks the rows in the same order.
        counts = [
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
            self._add(counts, now)
        except rate_limits.TooManyAttempts:
            self._remember(counts)
            raise
        return Attempt(counts)

    def _add(self, counts: list["AttemptCounter"], now: datetime) -> None:
        with transaction.atomic():
            # Makes what is missing, locks all of it and brings what is there: fields with a db_default are returned.
            self.bulk_create(counts, update_conflicts=True, unique_fields=["id"], update_fields=["kind"])
            if locked := {count.kind: count.until for count in counts if count.is_locked_out}:
                raise rate_limits.TooManyAttempts(
                    max(locked.values()), by_strangers=locked.keys() == {rate_limits.Kind.ACCOUNT}
                )
            for count in counts:
                count.add(now)
            self.bulk_update(counts, ["count", "since", "until"])

    def _remember(self, counts: Sequence["AttemptCounter"]) -> None:
        # A transaction of the caller's may undo what was read.
        if not connections[self.db].in_atomic_block:
            for count in counts:
                if count.is_locked_out:
                    rate_limits.recent_refusals.add(count.pk, count.until)


class AttemptCounter(models.Model):
    """
    How many guesses there were from one source, and until when the next one waits. Rows, so that a Redis that lost its
    memory renews nobody's guesses; of a name that was typed, a keyed digest only.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    kind = models.CharField(max_length=10, choices=rate_limits.kinds)
    account = models.UUIDField(_("digest of the username"), null=True, db_index=True, editable=False)
    # Whose account it is, if anybody's; known once it is locked.
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
        # As it was called before.
        db_table = "accounts_lock"
        base_manager_name = "objects"
        ordering = ["-until"]
        default_permissions = []
        permissions = [("view_lock", "Can view locks"), ("lift_lock", "Can lift locks")]

    def __str__(self) -> str:
        return self.get_kind_display()

    @property
    def limit(self) -> rate_limits.Limit:
        return rate_limits.limit_of(rate_limits.Kind(self.kind), self.ip_address)

    @property
    def is_locked_out(self) -> bool:
        # Not by the time alone: whoever wrote it need not wait, but may have a clock ahead of ours.
        return self.count >= self.limit.free and self.until > timezone.now()

    def add(self, now: datetime) -> None:
        """One more guess."""
        if now - self.since >= self.limit.memory:
            self.count, self.since = 0, now
        self.count += 1
        self.until = now + self.limit.wait(self.count)
