"""The token blocklist: tokens that are signed and unexpired, yet refused."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

from django.conf import settings
from django.db import connection, models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import sids
from accounts.compiled_queries import CompiledQuery
from accounts.http import request_context
from accounts.models import SecurityEvent, SignIn, User
from accounts.pruning import PrunableQuerySet
from api.blocklist import pubsub
from api.blocklist.status_index import StatusIndex as StatusIndex
from api.blocklist.status_index import status_indexes
from api.blocklist.store import Store as Store

# An entry outlasts the tokens it concerns by this much, for nodes whose clocks differ.
EXPIRY_MARGIN = timedelta(minutes=5)
# An entry is kept for as long after its time: whose clock is ahead, prunes nothing that others need.
MAX_CLOCK_DIFFERENCE = timedelta(days=1)
WHY_MAX_LENGTH = 200


def access_token_lifetime() -> timedelta:
    """How long after it was made an access token may be accepted, on any node."""
    lifetime: timedelta = settings.ACCESS_TOKEN + settings.JWT_LEEWAY + EXPIRY_MARGIN
    return lifetime


def max_access_expiry() -> datetime:
    """When no access token made up to now is accepted any more, on any node."""
    return timezone.now() + access_token_lifetime()


# The token_id of a wholesale entry, which only nodes of the release before read: they know such entries by it.
EVERYBODY_TOKEN_ID = uuid.UUID(int=0)


def user_token_id(user_id: int) -> uuid.UUID:
    """As EVERYBODY_TOKEN_ID, for the entries of one user."""
    return uuid.UUID(int=user_id)


def may_be_jti(found: uuid.UUID) -> bool:
    """Whether a token of ours may have this id: each is made by uuid4()."""
    return found.version == 4


def blocking_parameters(sid: uuid.UUID, user_id: int, *token_ids: uuid.UUID) -> list[Any]:
    """The parameters of EntryQuerySet.blocking() once it is compiled."""
    ids = (SignIn._meta.pk.get_db_prep_value(each, connection) for each in (sid, *token_ids))
    started = connection.ops.adapt_datetimefield_value(sids.started_at(sid))
    return [*ids, started, Entry.Kind.USER.value, user_id, started, Entry.Kind.EVERYBODY.value]


class EntryQuerySet(PrunableQuerySet["Entry"]):
    def in_force(self) -> Self:
        """Those that still have tokens to refuse."""
        return self.filter(until__gt=timezone.now(), lifted_at__isnull=True)

    def prunable(self) -> Self:
        return self.filter(until__lt=timezone.now() - MAX_CLOCK_DIFFERENCE)

    def blocking(self, sid: uuid.UUID, user_id: int, *token_ids: uuid.UUID) -> Self:
        """The entries that refuse the tokens of this sign-in of this user, or those with these ids alone."""
        started = sids.started_at(sid)
        # In the order of blocking_parameters(). A wholesale entry has a moment, and an owner or none: one index.
        alone = models.Q(before=None, token_id__in=(sid, *token_ids))
        of_user = models.Q(before__gt=started, kind=Entry.Kind.USER, owner_id=user_id)
        of_everybody = models.Q(before__gt=started, kind=Entry.Kind.EVERYBODY, owner_id=None)
        return self.filter(alone | of_user | of_everybody, lifted_at=None)

    def individual(self) -> Self:
        """Those that block a sign-in or a token by its id."""
        return self.filter(kind__in=(Entry.Kind.SIGN_IN, Entry.Kind.TOKEN))

    def wholesale(self) -> Self:
        """Those of all sign-ins that started before a moment."""
        return self.in_force().exclude(before=None).select_related("blocked_by").order_by("-before")

    def with_unexpired_tokens(self) -> Self:
        """Those made so lately that access tokens of before may be unexpired."""
        return self.filter(blocked_at__gt=timezone.now() - access_token_lifetime())

    def unfinished_count(self) -> int:
        """How many sign-ins are shut out by entries of many, and their rows do not say so yet."""
        # One by one: as one condition, a thousand of them would be too deep for SQLite.
        newest = {(entry.kind, entry.owner_id): entry for entry in self.wholesale().reverse()}
        left = SignIn.objects.unended()
        counted = 0
        if everybody := newest.pop((Entry.Kind.EVERYBODY, None), None):
            counted = left.filter(everybody.sign_ins_q()).count()
            left = left.exclude(everybody.sign_ins_q())
        return counted + sum(left.filter(entry.sign_ins_q()).count() for entry in newest.values())

    def finish_ending(self) -> Iterator[int]:
        """Ends, in their rows too, those that were left half-way. Yields how many each batch ended."""
        for entry in self.wholesale():
            with request_context.acting(entry.why, entry.blocked_by):
                yield from SignIn.objects.filter(entry.sign_ins_q()).end_silently_in_batches(entry.reason)

    finish_ending.alters_data = True  # type: ignore[attr-defined]

    def update(self, **values: Any) -> int:
        if "lifted_at" in values:
            raise TypeError("Entries are lifted by lift().")
        return super().update(**values)

    update.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        """Raises ValueError for an entry that still has tokens to refuse: deleting rows never un-revokes."""
        if self.in_force().exists():
            raise ValueError("These entries are in force.")
        return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]


class EntryManager(models.Manager.from_queryset(EntryQuerySet)):  # type: ignore[misc]
    def blocks(self, sid: uuid.UUID, jti: uuid.UUID, user_id: int) -> bool:
        """Whether an access token of this sign-in of this user with this id is refused. One indexed statement."""
        return _blocking_row.first(*blocking_parameters(sid, user_id, jti)) is not None

    def block_sign_ins(self, sids: Iterable[uuid.UUID]) -> None:
        """Refuses every access token of these sign-ins."""
        self._block(Entry.Kind.SIGN_IN, {sid: sid for sid in sids})

    def block_token(self, jti: uuid.UUID, sid: uuid.UUID | None = None) -> None:
        """Refuses this access token alone; others learn of it if its sign-in is told."""
        self._block(Entry.Kind.TOKEN, {jti: sid})

    def block_leaked_token(self, jti: uuid.UUID, why: str, sign_in: SignIn | None = None) -> None:
        """
        As block_token(), by staff: `why` and who are kept, and it may be lifted. `sign_in`: whose token it is. Raises
        ValueError for an id that no token of ours has.
        """
        if not may_be_jti(jti):
            raise ValueError("The id of a token is a version-4 UUID.")
        with transaction.atomic(), request_context.acting(why):
            self._block(
                Entry.Kind.TOKEN, {jti: sign_in.sid if sign_in else None}, why=why, blocked_by=request_context.actor()
            )
            user = sign_in.user if sign_in else None
            SecurityEvent.objects.record(SecurityEvent.Type.TOKEN_BLOCKED, user, sign_in, jti=jti.hex)

    def block_all(self, before: datetime, user_id: int | None = None, places_below: int | None = None) -> None:
        """Refuses every token of the sign-ins, of that user or of all, that started before a moment: in one entry."""
        if user_id is None:
            kind, token_id = Entry.Kind.EVERYBODY, EVERYBODY_TOKEN_ID
        else:
            kind, token_id = Entry.Kind.USER, user_token_id(user_id)
        # As long as one of them might be refreshed: their rows are ended in batches, and somebody may stop that.
        until = max_access_expiry() + settings.SIGN_IN_MAX
        with transaction.atomic():
            self.create(
                token_id=token_id,
                kind=kind,
                owner_id=user_id,
                places_below=places_below,
                before=before,
                until=until,
                why=request_context.reason()[:WHY_MAX_LENGTH],
                blocked_by=request_context.actor(),
            )
            if settings.REDIS_URL:
                transaction.on_commit(pubsub.publish_reload)

    def _block(self, kind: str, token_ids: dict[uuid.UUID, uuid.UUID | None], **fields: Any) -> None:
        """With each token id comes the sign-in it belongs to."""
        if not token_ids:
            return
        until, places = max_access_expiry(), status_indexes(token_ids.values())
        entries = [
            Entry(token_id=id, kind=kind, until=until, status_index=places.get(sid), **fields)
            for id, sid in token_ids.items()
        ]
        with transaction.atomic():
            self.bulk_create(entries, batch_size=1000)
            if settings.REDIS_URL:
                transaction.on_commit(partial(pubsub.publish, list(token_ids), until))


_blocking_row = CompiledQuery(
    lambda: Entry.objects.blocking(uuid.UUID(int=2), 1, uuid.UUID(int=3)).order_by().values_list("pk")[:1]
)


class Entry(models.Model):
    """
    Only ever added, or lifted: what is blocked twice has two, and a new one always has a new id, for mirrors to find
    it by.
    """

    class Kind(models.TextChoices):
        SIGN_IN = "sid", _("all tokens of a sign-in")
        TOKEN = "jti", _("a single token")
        USER = "sub", _("all tokens of a user")
        EVERYBODY = "all", _("all tokens of everybody")

    token_id = models.UUIDField(_("sid or jti"), db_index=True)
    kind = models.CharField(max_length=3, choices=Kind)
    # Of wholesale entries: they concern the sign-ins that started before.
    before = models.DateTimeField(null=True)
    # Of the entries of one user. No foreign key: the entry outlives the account.
    owner_id = models.BigIntegerField(null=True, editable=False)
    # Of an entry of everybody made after a restore: each place below it in the status list is marked.
    places_below = models.BigIntegerField(null=True, editable=False)
    blocked_at = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField(db_index=True)
    # What others know it by, if they do.
    status_index = models.BigIntegerField(null=True, editable=False)
    # Of what staff blocked; a sign-in knows itself why and by whom it was ended.
    why = models.CharField(max_length=WHY_MAX_LENGTH, blank=True, default="", db_default="")
    blocked_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False)
    lifted_at = models.DateTimeField(null=True)
    lifted_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False)

    objects = EntryManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("blocklist entry")
        verbose_name_plural = _("blocklist entries")
        ordering = ["-id"]
        permissions = [
            ("block_token", "Can block leaked tokens"),
            ("lift_entry", "Can lift entries of the blocklist"),
        ]
        # Of the few that staff made, so that the many others are added no more slowly.
        indexes = [
            models.Index(fields=[field], condition=models.Q((f"{field}__isnull", False)), name=f"entry_{field}")
            for field in ("status_index", "blocked_by", "lifted_at", "lifted_by")
        ] + [
            models.Index(
                fields=["owner_id", "before"], condition=models.Q(before__isnull=False), name="entry_wholesale"
            )
        ]
        constraints = [
            # A sign-in is ended for good, whoever asks.
            models.CheckConstraint(
                name="only_staff_entries_are_lifted",
                condition=models.Q(lifted_at__isnull=True) | models.Q(kind="jti") & ~models.Q(why=""),
            ),
            models.CheckConstraint(
                name="wholesale_entries_have_a_moment",
                condition=models.Q(kind__in=["sid", "jti"], before__isnull=True)
                | models.Q(kind__in=["sub", "all"], before__isnull=False),
            ),
            models.CheckConstraint(
                name="only_entries_of_a_user_have_an_owner",
                condition=models.Q(owner_id__isnull=True) | models.Q(kind="sub"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.token_id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("Entries of the blocklist are only ever added, or lifted by lift().")
        super().save(*args, **kwargs)

    @property
    def is_in_force(self) -> bool:
        return self.lifted_at is None and self.until > timezone.now()

    @property
    def may_be_lifted(self) -> bool:
        """Whether staff made it, of a single token: what a sign-in's end or its owner has blocked stays blocked."""
        return self.is_in_force and self.kind == Entry.Kind.TOKEN and bool(self.why)

    def sign_ins_q(self) -> models.Q:
        """Which sign-ins, of an entry of many."""
        started = models.Q(created_at__lt=self.before)
        return started if self.kind == Entry.Kind.EVERYBODY else started & models.Q(user=self.owner_id)

    @property
    def reason(self) -> str:
        """Why they ended, of an entry of many."""
        by_user = self.kind == Entry.Kind.USER and self.blocked_by_id == self.owner_id
        return SignIn.Reason.ENDED_BY_USER if by_user else SignIn.Reason.ENDED_BY_STAFF

    def lift(self, why: str) -> bool:
        """
        Lets the token in again, unless anything else blocks it: every process knows within a second. Returns whether
        it was there to be lifted.
        """
        with transaction.atomic(), request_context.acting(why):
            liftable = Entry.objects.in_force().filter(pk=self.pk, kind=Entry.Kind.TOKEN).exclude(why="")
            if not models.QuerySet.update(liftable, lifted_at=timezone.now(), lifted_by=request_context.actor()):
                return False
            jti = self.token_id.hex
            blocked = SecurityEvent.objects.filter(type=SecurityEvent.Type.TOKEN_BLOCKED, details__jti=jti).first()
            sign_in = blocked and SignIn.objects.filter(pk=blocked.sid).select_related("user").first()
            user = sign_in.user if sign_in else None
            SecurityEvent.objects.record(SecurityEvent.Type.BLOCK_LIFTED, user, sign_in, jti=jti)
        return True

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        return Entry.objects.filter(pk=self.pk).delete()


def block_ended_sign_ins(sign_ins: Sequence[SignIn], **kwargs: Any) -> None:
    """Inside the transaction that ends them. A browser has no tokens."""
    Entry.objects.block_sign_ins(each.sid for each in sign_ins if each.kind == SignIn.Kind.CLIENT)


def block_sign_ins_before(before: datetime, user: User | None, **kwargs: Any) -> None:
    """Inside the transaction that ends them."""
    Entry.objects.block_all(before, user.pk if user else None)
