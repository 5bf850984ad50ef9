"""The model of a security event: an append-only record of the events of an account."""

import logging
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Self

from django.conf import settings
from django.db import IntegrityError, connections, models, transaction
from django.db.models.functions import Cast, JSONObject
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import devices
from accounts.compiled_queries import chunks
from accounts.http import request_context
from accounts.models import event_sentences
from accounts.models.choices import EndReason, EventType, event_types
from accounts.models.event_receivers import EventReceiver
from accounts.pruning import BATCH_SIZE, PrunableQuerySet
from accounts.signals import events_recorded

log = logging.getLogger("accounts.events")

# If one change ends more sign-ins, the log has one line for all of them.
MAX_LOG_LINES_PER_CHANGE = 20


class SecurityEventQuerySet(PrunableQuerySet["SecurityEvent"]):
    """Query set of an append-only table: events are deleted by prune() alone."""

    def update(self, **values: Any) -> int:
        """Raises TypeError, except for on_delete=SET_NULL, when a user is deleted."""
        if values.keys() <= {"user", "actor"} and not any(values.values()):
            return super().update(**values)
        raise TypeError("Security events are append-only.")

    update.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        """Raises TypeError."""
        raise TypeError("Security events are append-only.")

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def prunable(self) -> Self:
        """Returns the events older than EVENT_KEEP_DAYS that were sent to the receiver of EVENTS_URL, if it is set."""
        return self._sent().filter(created_at__lt=timezone.now() - settings.EVENT_KEEP)

    def _sent(self) -> Self:
        """The events that do not wait for a receiver. At most one statement."""
        sent_through = EventReceiver.objects.sent_through()
        return self if sent_through is None else self.filter(pk__lte=sent_through)

    def unsent_for(self) -> float:
        """Returns the age of the oldest event that waits for the receiver of EVENTS_URL, in seconds. Two statements."""
        waiting = self.filter(pk__gt=EventReceiver.objects.sent_through()).order_by("pk")
        oldest = waiting.values_list("created_at", flat=True).first()
        return (timezone.now() - oldest).total_seconds() if oldest else 0.0

    def prune(self, size: int = BATCH_SIZE) -> Iterator[int]:
        """Deletes the prunable events, as PrunableQuerySet.prune()."""
        # The primary key is nearly in the order of time, so no index on the time is needed.
        oldest = self._sent().order_by("pk").select_for_update(skip_locked=True, of=("self",))
        kept_since = timezone.now() - settings.EVENT_KEEP
        while True:
            with transaction.atomic(using=self.db):
                batch = [pk for pk, at in oldest.values_list("pk", "created_at")[:size] if at < kept_since]
                self._delete_for_good(batch)
            if not batch:
                return
            yield len(batch)

    prune.alters_data = True  # type: ignore[attr-defined]


class SecurityEventManager(models.Manager.from_queryset(SecurityEventQuerySet)):  # type: ignore[misc]
    def record(self, type: str, user: Any, sign_in: Any = None, **details: str) -> "SecurityEvent":
        """
        Inserts an event of the current request, and logs it after the commit. Call it in the transaction of the change.
        `details` must not contain a secret.
        """
        return self._store(
            self.build(type, user_id=user.pk if user else None, sid=sign_in.pk if sign_in else None, **details)
        )

    def record_reauthentication(self, user: Any, method: str) -> "SecurityEvent":
        """Records that a signed-in user has proved `method` again, in the sign-in of the current request."""
        sid = request_context.sid_of(user)
        return self._store(self.build(EventType.REAUTHENTICATED, user_id=user.pk, sid=sid, method=str(method)))

    def _store(self, event: "SecurityEvent") -> "SecurityEvent":
        try:
            event.save(force_insert=True)
        except IntegrityError:
            # The account has just been deleted. In a transaction its row is locked, and this is a different error.
            if connections[self.db].in_atomic_block or not self._clear_deleted_users(event):
                raise
            event.save(force_insert=True)
        self._announce([event])
        return event

    def _clear_deleted_users(self, event: "SecurityEvent") -> bool:
        """Clears the user and the actor of a new event if their accounts were deleted. Returns whether one was."""
        before = {event.user_id, event.actor_id} - {None}
        users = self.model._meta.get_field("user").related_model._base_manager.using(self.db)
        existing = set(users.filter(pk__in=before).values_list("pk", flat=True))
        event.pk = None
        event.user_id = event.user_id if event.user_id in existing else None
        event.actor_id = event.actor_id if event.actor_id in existing else None
        return existing != before

    def record_ends(self, sign_ins: Sequence[Any], reason: str, rows: models.QuerySet[Any]) -> None:
        """
        Records the end of sign-ins, which have at least pk, user_id and kind. `rows` is a query set of all rows of
        their model. One statement for up to MAX_LOG_LINES_PER_CHANGE sign-ins, and for each MAX_QUERY_VALUES of more.
        """
        type = EventType.SIGNED_OUT if reason == EndReason.SIGNED_OUT else EventType.SIGN_IN_ENDED
        if len(sign_ins) > MAX_LOG_LINES_PER_CHANGE:
            for ids in chunks([each.pk for each in sign_ins]):
                self._insert_from_sign_ins(self.build(type, None, None, reason=reason), rows.filter(pk__in=ids))
            transaction.on_commit(partial(_announce_many, type, len(sign_ins)), robust=True)
            return
        events = [
            self.build(type, user_id=each.user_id, sid=each.pk, kind=each.kind, reason=reason) for each in sign_ins
        ]
        self.bulk_create(events)
        self._announce(events)

    def _insert_from_sign_ins(self, template: "SecurityEvent", ended: models.QuerySet[Any]) -> None:
        """
        Inserts an event for each sign-in by INSERT ... SELECT, which the ORM does not have: one statement without the
        rows in memory. Equal to bulk_create() of build() with each sign-in's user, sid and kind.
        """
        details = {key: Cast(models.Value(value), models.TextField()) for key, value in template.details.items()}
        selected = {"user_id": "user_id", "sid": "pk", "details": JSONObject(kind="kind", **details)}
        fields = [field for field in self.model._meta.concrete_fields if not field.primary_key]
        values: list[Any] = [
            selected.get(field.attname) or models.Value(getattr(template, field.attname), field) for field in fields
        ]
        rows = ended.order_by().values_list(*values)
        sql, parameters = rows.query.sql_with_params()
        with connections[self.db].cursor() as cursor:
            quote = connections[self.db].ops.quote_name
            columns = ", ".join(quote(field.column) for field in fields)
            cursor.execute(f"INSERT INTO {quote(self.model._meta.db_table)} ({columns}) {sql}", parameters)

    def _announce(self, events: Sequence["SecurityEvent"]) -> None:
        """Logs the events, and sends events_recorded, after the commit."""
        if events:
            transaction.on_commit(partial(_announce, events), robust=True)

    def build(self, type: str, user_id: int | None, sid: uuid.UUID | None, **details: str) -> "SecurityEvent":
        """Returns an unsaved event with the actor, reason, address and user agent of the current request."""
        actor = request_context.actor()
        return self.model(
            type=type,
            user_id=user_id,
            actor_id=actor.pk if actor else None,
            sid=sid,
            ip_address=request_context.ip_address(),
            user_agent=request_context.user_agent(),
            details=details | ({"why": reason} if (reason := request_context.reason()) else {}),
        )


def _announce_many(type: str, count: int) -> None:
    events_recorded.send(sender=SecurityEvent, type=type, count=count)
    log.info("%s, %d times", type, count)


def _announce(events: Sequence["SecurityEvent"]) -> None:
    type = events[0].type
    events_recorded.send(sender=SecurityEvent, type=type, count=len(events))
    for event in events:
        log.info(type, extra={"sid": event.sid and str(event.sid), "user_id": event.user_id})


class SecurityEvent(models.Model):
    """An event of an account. Events are inserted, and neither changed nor deleted before EVENT_KEEP_DAYS."""

    Type = EventType

    SENTENCES = event_sentences.SENTENCES
    # Types that the account's owner can report as not their own action.
    DISPUTABLE = {
        Type.SIGNED_IN,
        Type.API_KEY_MADE,
        Type.PASSWORD_CHANGED,
        Type.PASSWORD_RESET,
        Type.EMAIL_CHANGE_ASKED,
        Type.EMAIL_CHANGED,
        Type.FACTOR_ADDED,
        Type.FACTOR_REMOVED,
        Type.RECOVERY_CODES_MADE,
        Type.RECOVERY_CODE_USED,
        Type.ACCOUNT_CONNECTED,
        Type.ACCOUNT_DISCONNECTED,
    }
    # A name, password, token or link was sufficient. The owner sees the client, even one with another user signed in.
    BY_CREDENTIAL = {
        Type.SIGNED_UP,
        Type.SIGNED_IN,
        Type.SIGN_IN_FAILED,
        Type.LOCKED,
        Type.TOKEN_REUSED,
        Type.TOKEN_REVOKED,
        Type.PASSWORD_RESET,
        Type.EMAIL_CONFIRMED,
        Type.EMAIL_CHANGED,
        Type.SECOND_STEP_FAILED,
        Type.RECOVERY_CODE_USED,
        Type.PASSKEY_COUNTER,
        Type.DEVICE_PROOF_FAILED,
        Type.FACTOR_DISABLED,
    }

    type = models.CharField(max_length=30, choices=event_types)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="security_events"
    )
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    sid = models.UUIDField(null=True)
    ip_address = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=request_context.USER_AGENT_MAX_LENGTH, blank=True)
    details = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)

    objects = SecurityEventManager()

    class Meta:
        verbose_name = _("security event")
        verbose_name_plural = _("security events")
        base_manager_name = "objects"
        ordering = ["-id"]
        permissions = [("export_securityevent", "Can export security events")]
        indexes = [
            models.Index(fields=["user", "-id"], name="event_user_newest"),
            models.Index(fields=["sid"], name="event_sid"),
            models.Index(fields=["-created_at"], name="event_newest"),
            models.Index(fields=["type", "-created_at"], name="event_type_newest"),
            models.Index(fields=["ip_address"], name="event_address"),
        ]

    def __str__(self) -> str:
        return str(self.get_type_display())

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Inserts a new event. Raises TypeError for a stored one."""
        if not self._state.adding:
            raise TypeError("Security events are append-only.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Raises TypeError."""
        raise TypeError("Security events are append-only.")

    @property
    def device(self) -> str:
        """The name of the client's device, in the active language."""
        return devices.name(self.user_agent)

    @property
    def sentence(self) -> str:
        """A sentence about the event for the account's owner, in the active language."""
        return event_sentences.sentence(self.type, self.details)

    @property
    def importance(self) -> event_sentences.Importance:
        """How much the event matters to the account's owner."""
        return event_sentences.importance_of(self.type)

    @property
    def is_by_another(self) -> bool:
        """Whether another user, usually a staff member, caused it. The account's owner does not see that client."""
        return self.actor_id not in (None, self.user_id) and self.type not in self.BY_CREDENTIAL

    @property
    def owners_ip_address(self) -> str | None:
        """The IP address, or None if the account's owner may not see it."""
        return None if self.is_by_another else self.ip_address

    @property
    def owners_user_agent(self) -> str:
        """The user agent, or "" if the account's owner may not see it."""
        return "" if self.is_by_another else self.user_agent

    @property
    def owners_device(self) -> str:
        """The name of the device, as far as the account's owner may see it."""
        return devices.name(self.owners_user_agent)

    @property
    def reason(self) -> str:
        """The label of the reason for which a sign-in ended, or ""."""
        return str(dict(EndReason.choices).get(self.details.get("reason", ""), ""))

    @property
    def is_disputable(self) -> bool:
        """Whether the account's owner can report it as not their own action."""
        return self.type in self.DISPUTABLE
