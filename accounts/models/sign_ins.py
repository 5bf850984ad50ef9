"""The model of a sign-in: one place where a user is signed in, in a browser or a client."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from itertools import chain
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import models, transaction
from django.db.models.functions import Now
from django.db.models.signals import pre_delete
from django.dispatch import receiver
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext_lazy as _

from accounts import devices, sids
from accounts.changed_columns import ChangedColumnsModel
from accounts.compiled_queries import CompiledUpdate, partial_instance
from accounts.http import request_context
from accounts.models.choices import EndReason, EventType, Method, SignInKind, end_reasons, level_of, sign_in_kinds
from accounts.models.events import SecurityEvent
from accounts.models.sign_in_querysets import SignInManager
from accounts.signals import sign_ins_ended

LAST_SEEN_PRECISION = timedelta(minutes=5)


@cache
def user_columns() -> list[str]:
    """Returns the attnames of all columns of the user model."""
    return [field.attname for field in get_user_model()._meta.concrete_fields]


def joined_methods(methods: Iterable[str]) -> str:
    """Returns the text of SignIn.methods: each method once, in the order of Method."""
    given = set(methods)
    return " ".join(method for method in Method.values if method in given)


class SignIn(ChangedColumnsModel):
    """One place where a user is signed in: a browser, or a client (a family of tokens)."""

    Kind = SignInKind
    Reason = EndReason

    id = models.UUIDField(primary_key=True, default=sids.new, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="sign_ins")
    kind = models.CharField(max_length=10, choices=sign_in_kinds)
    name = models.CharField(
        _("name"),
        max_length=60,
        blank=True,
        default="",
        db_default="",
        help_text=_("Name that the user gave it."),
    )
    user_agent = models.CharField(max_length=request_context.USER_AGENT_MAX_LENGTH, blank=True)
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    # Fingerprint of the password at the start. A changed password, even by raw SQL, invalidates the sign-in.
    auth_hash = models.CharField(max_length=128, editable=False)

    created_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    # When the user last proved who they are, at the level of the sign-in (the auth_time of OpenID Connect).
    authenticated_at = models.DateTimeField(
        default=timezone.now, db_default=Now(), editable=False, db_column="proved_at"
    )
    # What the user proved in it (Method), separated by spaces. Empty: unknown, as for sign-ins of earlier releases.
    methods = models.CharField(max_length=100, blank=True, default="", db_default="", editable=False)
    idle_timeout = models.DurationField()
    expires_at = models.DateTimeField()

    # The service that its access tokens are for. Blank: our own API.
    audience = models.CharField(max_length=255, blank=True, default="", db_default="", editable=False)
    # The thumbprint (RFC 7638) of the key that its tokens are bound to. Blank: bearer tokens.
    key_thumbprint = models.CharField(
        max_length=43, blank=True, default="", db_default="", editable=False, db_column="bound_to"
    )

    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=20, choices=end_reasons, blank=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    # Set together with `ended_at` by code that announces the end. Otherwise database triggers revoke the tokens.
    is_end_announced = models.BooleanField(default=False, db_default=False, editable=False)

    # Token mode: the ids of the valid refresh token and of the previous one. An id gives no access.
    refresh_id = models.UUIDField(default=uuid.uuid4, editable=False)
    previous_refresh_id = models.UUIDField(null=True, editable=False)
    refreshed_at = models.DateTimeField(default=timezone.now, editable=False)
    # Its index in the token status list that other services read. Null: not in the list.
    status_index = models.BigIntegerField(null=True, unique=True, editable=False)

    objects = SignInManager()

    # The fields that each request and refresh needs to decide whether the sign-in is live.
    DECISIVE_FIELDS = (
        "id",
        "user_id",
        "kind",
        "auth_hash",
        "created_at",
        "last_seen_at",
        "idle_timeout",
        "expires_at",
        "ended_at",
        "refresh_id",
        "previous_refresh_id",
        "refreshed_at",
        "audience",
        "key_thumbprint",
        "status_index",
        "authenticated_at",
        "methods",
    )

    class Meta:
        verbose_name = _("sign-in")
        verbose_name_plural = _("sign-ins")
        base_manager_name = "objects"
        ordering = ["-last_seen_at"]
        permissions = [
            ("end_signin", "Can end sign-ins of others"),
            ("end_everyone", "Can end everyone's sign-ins, superusers' too"),
        ]
        indexes = [
            # No index has a column that a refresh writes, so that PostgreSQL updates no index (HOT updates).
            models.Index(fields=["user", "-created_at"], name="sign_in_user_newest"),
            models.Index(fields=["-created_at"], name="sign_in_newest"),
            models.Index(fields=["ip_address"], name="sign_in_address"),
            models.Index(
                fields=["end_reason", "-created_at"],
                condition=models.Q(ended_at__isnull=False),
                name="sign_in_end_reason",
            ),
            # Only rows of ended sign-ins, which `prune` and lists of ends read.
            models.Index(fields=["ended_at"], condition=models.Q(ended_at__isnull=False), name="sign_in_ended_at"),
        ]

    def __str__(self) -> str:
        return f"{self.label}, {self.get_kind_display()}"

    def save(self, **options: Any) -> None:
        """
        Writes the columns that changed. Setting `ended_at` also sends `sign_ins_ended`. Raises ValueError for a change
        of `ended_at` after the end.
        """
        columns = self.columns_to_update(**options)
        may_end = self.ended_at is not None if columns is None else "ended_at" in columns
        if not may_end:
            return super().save(**options)
        self.is_end_announced = True
        if columns is not None:
            options["update_fields"] = [*columns, "is_end_announced"]
        with transaction.atomic():
            if columns and not SignIn.objects.filter(pk=self.pk).unended().select_for_update(no_key=True).exists():
                raise ValueError("A sign-in that has ended cannot be resumed: an end is final.")
            super().save(**options)
            if self.ended_at is not None:
                sign_ins_ended.send(sender=SignIn, sign_ins=[self])

    @classmethod
    def columns(cls, path: str = "") -> list[str]:
        """
        Returns the names for values_list() whose values from_columns() takes. `path` is the look-up path to the sign-in
        ("sign_in__").
        """
        return [f"{path}{name}" for name in cls.DECISIVE_FIELDS] + [f"{path}user__{name}" for name in user_columns()]

    @classmethod
    def from_columns(cls, values: Sequence[Any]) -> "SignIn":
        """Returns a sign-in with its user. Fields that are not in DECISIVE_FIELDS are deferred."""
        sign_in = partial_instance(cls, zip(cls.DECISIVE_FIELDS, values, strict=False))
        user = partial_instance(get_user_model(), zip(user_columns(), values[len(cls.DECISIVE_FIELDS) :], strict=True))
        sign_in._state.fields_cache["user"] = user
        return sign_in

    @property
    def sid(self) -> uuid.UUID:
        """The id of the sign-in in sessions and tokens."""
        return self.pk

    @property
    def device(self) -> str:
        """The name of the device, in the active language."""
        return devices.name(self.user_agent)

    @property
    def label(self) -> str:
        """The name that the user gave it, or else the name of the device."""
        return self.name or self.device

    @property
    def icon(self) -> str:
        """The name of the device's icon."""
        return devices.of(self.user_agent).icon

    def is_known_device(self, known: Iterable[tuple[str, devices.Device]]) -> bool:
        """Returns whether `known` has a device of the same kind, product and system."""
        device = devices.of(self.user_agent)
        return any(kind == self.kind and device.is_like(each) for kind, each in known)

    @property
    def ended_or_expired_at(self) -> datetime:
        """When the sign-in ended or, if it has not ended, when it expires."""
        return self.ended_at or self.expires_at

    @property
    def end_reason_text(self) -> str:
        """The reason of the end or of the expiry, in the active language."""
        if self.ended_at:
            return str(self.get_end_reason_display())
        return str(
            _("maximum duration reached") if self.expires_at >= self.max_expires_at else _("unused for too long")
        )

    @property
    def max_expires_at(self) -> datetime:
        """The latest possible expiry, however often the sign-in is used."""
        return self.created_at + settings.SIGN_IN_MAX

    def is_live(self, now: datetime | None = None) -> bool:
        """Returns whether the sign-in is valid: neither ended nor expired, of an active user with the same password."""
        now = now or timezone.now()
        return (
            self.ended_at is None
            and now < min(self.expires_at, self.max_expires_at)
            and self.user.is_active
            and not (self.user.is_service and self.kind == self.Kind.BROWSER)
            and not (self.kind == self.Kind.CLIENT and self.user.needs_bound_tokens and not self.key_thumbprint)
            and not (self.user.must_have_second_factor and self.level < 2)
            and self._is_of_same_password()
        )

    def _is_of_same_password(self) -> bool:
        hashes = chain([self.user.get_session_auth_hash()], self.user.get_session_auth_fallback_hash())
        return any(constant_time_compare(self.auth_hash, each) for each in hashes)

    @property
    def level(self) -> int:
        """The authentication level: 2 if a second factor or a passkey was proved in it, otherwise 1."""
        return level_of(self.methods.split())

    def is_recently_authenticated(self, level: int = 1, within: timedelta | None = None) -> bool:
        """
        Returns whether the user proved who they are within REAUTHENTICATION_TIMEOUT, or the given time, and the sign-in
        has the level. accounts.factors.requirements knows which level an account needs.
        """
        age = timezone.now() - self.authenticated_at
        return self.level >= level and age < (settings.REAUTHENTICATION_TIMEOUT if within is None else within)

    def mark_reauthenticated(self, method: str = Method.PASSWORD) -> None:
        """
        Records that the user has just proved `method` again. One statement. A password in a sign-in of level 2 records
        nothing while the account has a second factor; after the last one was removed, it lowers the level to 1.
        """
        methods = [*self.methods.split(), method]
        if level_of([method]) < self.level:
            if not get_user_model().objects.filter(pk=self.user_id).without_second_factor().exists():
                return
            methods = [method]
        self.authenticated_at = timezone.now()
        self.methods = joined_methods(methods)
        SignIn.objects.filter(pk=self.pk).update(authenticated_at=self.authenticated_at, methods=self.methods)

    def rename(self, name: str) -> None:
        """Sets the name. One statement."""
        self.name = name
        SignIn.objects.filter(pk=self.pk).update(name=name)

    def touch(self) -> None:
        """Records the use, and extends the idle expiry, at most once in LAST_SEEN_PRECISION."""
        now = timezone.now()
        if now - self.last_seen_at < LAST_SEEN_PRECISION:
            return
        self.last_seen_at = now
        self.expires_at = min(now + self.idle_timeout, self.max_expires_at)
        SignIn.objects.filter(pk=self.pk, ended_at__isnull=True).update(
            last_seen_at=self.last_seen_at, expires_at=self.expires_at
        )
        self.user.mark_used()

    @staticmethod
    def idle_timeout_of(kind: str, is_remembered: bool = False) -> timedelta:
        """Returns how long a sign-in of this kind may be idle before it expires. Longer than LAST_SEEN_PRECISION."""
        browser = settings.REMEMBER_ME_IDLE_TIMEOUT if is_remembered else settings.BROWSER_IDLE_TIMEOUT
        timeout: timedelta = browser if kind == SignInKind.BROWSER else settings.REFRESH_TOKEN
        return timeout

    def remember_me(self) -> None:
        """Sets the idle timeout of a browser to BROWSER_SESSION_DAYS. One statement."""
        self.idle_timeout = self.idle_timeout_of(self.Kind.BROWSER, is_remembered=True)
        self.expires_at = min(self.created_at + self.idle_timeout, self.max_expires_at)
        SignIn.objects.filter(pk=self.pk).update(idle_timeout=self.idle_timeout, expires_at=self.expires_at)

    def end(self, reason: str) -> bool:
        """Ends the sign-in, and revokes its sessions and tokens. Returns False if it had ended before."""
        return bool(SignIn.objects.filter(pk=self.pk).end(reason))

    def swap_refresh_id(self, now: datetime) -> bool:
        """Replaces the current refresh id with a new one by compare-and-swap. Returns whether it did. One statement."""
        successor = uuid.uuid4()
        expires_at = min(now + self.idle_timeout, self.max_expires_at)
        swapped = _swap_refresh_id.run(successor, self.refresh_id, now, now, expires_at, self.pk, self.refresh_id)
        if swapped:
            self.previous_refresh_id, self.refresh_id = self.refresh_id, successor
            self.refreshed_at = self.last_seen_at = now
            self.expires_at = expires_at
        return bool(swapped)

    def is_in_grace(self, refresh_id: uuid.UUID, now: datetime) -> bool:
        """Returns whether it is the previous refresh token, within the grace period since the rotation."""
        return refresh_id == self.previous_refresh_id and now - self.refreshed_at < settings.REFRESH_GRACE

    def accepts_refresh(self, refresh_id: uuid.UUID) -> bool:
        """Returns whether this refresh token is valid now."""
        now = timezone.now()
        return self.is_live(now) and (refresh_id == self.refresh_id or self.is_in_grace(refresh_id, now))

    def end_as_stolen(self) -> None:
        """
        Ends the sign-in, since a rotated refresh token was used again: a thief has a copy (RFC 9700, section 4.14.2).
        Records an event and mails a notice.
        """
        with transaction.atomic():
            if self.end(self.Reason.TOKEN_REUSED):
                SecurityEvent.objects.record(EventType.TOKEN_REUSED, self.user, self)
                self.user.notify("token_reused", client=self.label)


_swap_refresh_id = CompiledUpdate(
    "accounts.SignIn",
    fields=["refresh_id", "previous_refresh_id", "refreshed_at", "last_seen_at", "expires_at"],
    where=["id", "refresh_id"],
    null=["ended_at"],
)


@receiver(pre_delete, sender=SignIn)
def deleting_a_sign_in_ends_it(instance: SignIn, origin: Any = None, **kwargs: Any) -> None:
    """Sends `sign_ins_ended` before a sign-in is deleted, in any way that sends pre_delete."""
    if instance.ended_at is None:
        sign_ins_ended.send(sender=SignIn, sign_ins=[instance])
    elif getattr(origin, "_meta", getattr(getattr(origin, "model", None), "_meta", None)) is not get_user_model()._meta:
        # With the deletion of a user, all sign-ins were announced together (UserQuerySet._end_before_deletion).
        SignIn.objects.filter(pk=instance.pk).announce_before_deletion()
