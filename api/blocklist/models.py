"""The model of the blocklist: entries that refuse tokens which are signed and unexpired."""

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
# How long expired entries are stored: a node whose clock is ahead must not prune entries that others need.
MAX_CLOCK_DIFFERENCE = timedelta(days=1)
WHY_MAX_LENGTH = 200


def access_token_lifetime() -> timedelta:
    """How long after its issue an access token may be accepted, on any node."""
    lifetime: timedelta = settings.ACCESS_TOKEN + settings.JWT_LEEWAY + EXPIRY_MARGIN
    return lifetime


def max_access_expiry() -> datetime:
    """The time after which no access token issued up to now, and no session remembered up to now, is accepted."""
    return timezone.now() + max(access_token_lifetime(), settings.SESSION_RECHECK + EXPIRY_MARGIN)


# The token_id of wholesale entries, by which nodes of the previous release recognise them. This release ignores it.
EVERYBODY_TOKEN_ID = uuid.UUID(int=0)


def user_token_id(user_id: int) -> uuid.UUID:
    """As EVERYBODY_TOKEN_ID, for the wholesale entries of one user."""
    return uuid.UUID(int=user_id)


def session_key_id(stored_key: str) -> uuid.UUID:
    """The token_id of a session key, by its hash in the table of sessions: the first 128 bits of the hash."""
    return uuid.UUID(hex=stored_key[:32])


def may_be_jti(found: uuid.UUID) -> bool:
    """Whether a token may have this id: all are made by uuid4()."""
    return found.version == 4


def blocking_parameters(sid: uuid.UUID, user_id: int, *token_ids: uuid.UUID) -> list[Any]:
    """The SQL parameters of EntryQuerySet.blocking(), for a compiled query."""
    ids = (SignIn._meta.pk.get_db_prep_value(each, connection) for each in (sid, *token_ids))
    started = connection.ops.adapt_datetimefield_value(sids.started_at(sid))
    return [*ids, started, Entry.Kind.USER.value, user_id, started, Entry.Kind.EVERYBODY.value]


class EntryQuerySet(PrunableQuerySet["Entry"]):
    def in_force(self) -> Self:
        """Entries that are not lifted and whose tokens may be unexpired."""
        return self.filter(until__gt=timezone.now(), lifted_at__isnull=True)

    def prunable(self) -> Self:
        return self.filter(until__lt=timezone.now() - MAX_CLOCK_DIFFERENCE)

    def blocking(self, sid: uuid.UUID, user_id: int, *token_ids: uuid.UUID) -> Self:
        """Entries that refuse the tokens of this sign-in of this user, or the tokens with these ids."""
        started = sids.started_at(sid)
        # In the order of blocking_parameters(). The conditions of wholesale entries match the index entry_wholesale.
        individual = models.Q(before=None, token_id__in=(sid, *token_ids))
        of_user = models.Q(before__gt=started, kind=Entry.Kind.USER, owner_id=user_id)
        of_everybody = models.Q(before__gt=started, kind=Entry.Kind.EVERYBODY, owner_id=None)
        return self.filter(individual | of_user | of_everybody, lifted_at=None)

    def individual(self) -> Self:
        """Entries for a single sign-in or token."""
        return self.filter(kind__in=(Entry.Kind.SIGN_IN, Entry.Kind.TOKEN))

    def wholesale(self) -> Self:
        """Entries in force for all sign-ins that started before a time."""
        return self.in_force().exclude(before=None).select_related("blocked_by").order_by("-before")

    def with_unexpired_tokens(self) -> Self:
        """Entries so recent that access tokens issued before them may be unexpired."""
        return self.filter(blocked_at__gt=timezone.now() - access_token_lifetime())

    def unfinished_count(self) -> int:
        """The number of sign-ins that wholesale entries have ended and whose rows are not updated yet."""
        # One statement per entry: one condition for a thousand entries is too deep for SQLite.
        newest = {(entry.kind, entry.owner_id): entry for entry in self.wholesale().reverse()}
        unended = SignIn.objects.unended()
        counted = 0
        if everybody := newest.pop((Entry.Kind.EVERYBODY, None), None):
            counted = unended.filter(everybody.sign_ins_q()).count()
            unended = unended.exclude(everybody.sign_ins_q())
        return counted + sum(unended.filter(entry.sign_ins_q()).count() for entry in newest.values())

    def finish_ending(self) -> Iterator[int]:
        """Updates the rows that unfinished_count() counts. Yields the number that each batch ended."""
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
        """Whether the access token `jti` of this sign-in of this user is refused. One statement, by indexes."""
        return _blocking_row.first(*blocking_parameters(sid, user_id, jti)) is not None

    def block_sign_ins(self, sids: Iterable[uuid.UUID]) -> None:
        """Refuses every access token of these sign-ins."""
        self._block(Entry.Kind.SIGN_IN, {sid: sid for sid in sids})

    def block_token(self, jti: uuid.UUID, sid: uuid.UUID | None = None) -> None:
        """Refuses one access token. With `sid`, the sign-in becomes suspended in the status list."""
        self._block(Entry.Kind.TOKEN, {jti: sid})

    def block_leaked_token(self, jti: uuid.UUID, why: str, sign_in: SignIn | None = None) -> None:
        """
        As block_token(), by staff: stores `why` and the staff member, and can be lifted. `sign_in` is the token's.
        Raises ValueError for an id that is not version 4, which no token has.
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
        """Refuses all tokens of sign-ins, of a user or of all users, that started before a time. One statement."""
        if user_id is None:
            kind, token_id = Entry.Kind.EVERYBODY, EVERYBODY_TOKEN_ID
        else:
            kind, token_id = Entry.Kind.USER, user_token_id(user_id)
        # As long as one of them could be used: their rows are ended in batches, which may be interrupted.
        until = max_access_expiry() + max(settings.SIGN_IN_MAX, settings.API_KEY_MAX)
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
        """`token_ids` maps each id to its sign-in, None if unknown. Publishes the ids on commit."""
        if not token_ids:
            return
        until, indexes = max_access_expiry(), status_indexes(token_ids.values())
        entries = [
            Entry(token_id=id, kind=kind, until=until, status_index=indexes.get(sid), **fields)
            for id, sid in token_ids.items()
        ]
        with transaction.atomic():
            self.bulk_create(entries, batch_size=1000)
            _publish_on_commit(list(token_ids), until)


_blocking_row = CompiledQuery(
    lambda: Entry.objects.blocking(uuid.UUID(int=2), 1, uuid.UUID(int=3)).order_by().values_list("pk")[:1]
)


class Entry(models.Model):
    """
    Refuses the tokens of one sign-in, one token, or all tokens of sign-ins before a time. Rows are only added, lifted
    and pruned: mirrors find new entries by their new ids.
    """

    class Kind(models.TextChoices):
        SIGN_IN = "sid", _("all tokens of a sign-in")
        TOKEN = "jti", _("a single token")
        USER = "sub", _("all tokens of a user")
        EVERYBODY = "all", _("all tokens of everybody")
        SESSION_KEY = "key", _("a session key")

    token_id = models.UUIDField(_("sid or jti"), db_index=True)
    kind = models.CharField(max_length=3, choices=Kind)
    # Of wholesale entries: the sign-ins that started before this time are revoked.
    before = models.DateTimeField(null=True)
    # Of wholesale entries of one user. No foreign key: the entry outlives the account.
    owner_id = models.BigIntegerField(null=True, editable=False)
    # Of the entry that a restore adds: all lower indexes of the status lists are invalid.
    places_below = models.BigIntegerField(null=True, editable=False)
    blocked_at = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField(db_index=True)
    # The index of the sign-in in the status lists, if it has one.
    status_index = models.BigIntegerField(null=True, editable=False)
    # Of entries that staff made. The reason of an ended sign-in is in its own row.
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
        # Partial indexes, for the few entries that have these fields: the others are inserted as fast as without.
        indexes = [
            models.Index(fields=[field], condition=models.Q((f"{field}__isnull", False)), name=f"entry_{field}")
            for field in ("status_index", "blocked_by", "lifted_at", "lifted_by")
        ] + [
            models.Index(
                fields=["owner_id", "before"], condition=models.Q(before__isnull=False), name="entry_wholesale"
            )
        ]
        constraints = [
            # The end of a sign-in cannot be reverted.
            models.CheckConstraint(
                name="only_staff_entries_are_lifted",
                condition=models.Q(lifted_at__isnull=True) | models.Q(kind="jti") & ~models.Q(why=""),
            ),
            models.CheckConstraint(
                name="wholesale_entries_have_a_moment",
                condition=models.Q(kind__in=["sid", "jti", "key"], before__isnull=True)
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
            raise TypeError("Entries of the blocklist cannot be changed. Use lift() to lift one.")
        super().save(*args, **kwargs)

    @property
    def is_in_force(self) -> bool:
        return self.lifted_at is None and self.until > timezone.now()

    @property
    def may_be_lifted(self) -> bool:
        """Whether staff made the entry, for a single token. Entries of ended sign-ins and of users cannot be lifted."""
        return self.is_in_force and self.kind == Entry.Kind.TOKEN and bool(self.why)

    def sign_ins_q(self) -> models.Q:
        """The condition for the sign-ins of a wholesale entry."""
        started = models.Q(created_at__lt=self.before)
        return started if self.kind == Entry.Kind.EVERYBODY else started & models.Q(user=self.owner_id)

    @property
    def reason(self) -> str:
        """The end reason for the sign-ins of a wholesale entry."""
        by_user = self.kind == Entry.Kind.USER and self.blocked_by_id == self.owner_id
        return SignIn.Reason.ENDED_BY_USER if by_user else SignIn.Reason.ENDED_BY_STAFF

    def lift(self, why: str) -> bool:
        """
        Accepts the token again, unless another entry blocks it. Every process reads this within a second. Returns False
        if the entry cannot be lifted.
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
    """Runs in the transaction that ends the sign-ins."""
    Entry.objects.block_sign_ins(each.sid for each in sign_ins)


def block_sign_ins_before(before: datetime, user: User | None, **kwargs: Any) -> None:
    """Runs in the transaction that ends the sign-ins."""
    Entry.objects.block_all(before, user.pk if user else None)


def publish_session_keys(stored_keys: Sequence[str], sids: Sequence[uuid.UUID] = (), **kwargs: Any) -> None:
    """
    Runs in the transaction that replaces the keys, or deletes the sessions of these sign-ins. Triggers of the database
    add the entries.
    """
    if stored_keys:
        _publish_on_commit([*map(session_key_id, stored_keys), *sids], max_access_expiry())


def _publish_on_commit(token_ids: list[uuid.UUID], until: datetime) -> None:
    if settings.REDIS_URL:
        transaction.on_commit(partial(pubsub.publish, token_ids, until))
