"""The model of a sign-in: one place where a user is signed in, in a browser, in a client or by an API key."""

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
from accounts.compiled_queries import partial_instance
from accounts.http import request_context
from accounts.models.choices import EndReason, Method, SignInKind, end_reasons, level_of, sign_in_kinds
from accounts.models.device_binding import DeviceBinding
from accounts.models.lifetimes import Lifetimes
from accounts.models.refresh_tokens import RefreshTokens
from accounts.models.sign_in_querysets import SignInManager
from accounts.signals import sign_ins_ended


@cache
def user_columns() -> list[str]:
    """Returns the attnames of all columns of the user model."""
    return [field.attname for field in get_user_model()._meta.concrete_fields]


def joined_methods(methods: Iterable[str]) -> str:
    """Returns the text of SignIn.methods: each method once, in the order of Method."""
    given = set(methods)
    return " ".join(method for method in Method.values if method in given)


class SignIn(RefreshTokens, Lifetimes, DeviceBinding, ChangedColumnsModel):
    """One place where a user is signed in: a browser, a client (a family of tokens), or an API key."""

    Kind = SignInKind
    # The kinds that SIGN_INS_PER_USER counts, together.
    LIMITED_KINDS = (SignInKind.BROWSER, SignInKind.CLIENT)
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
    # How long it may last at all, if shorter than SIGN_IN_MAX_DAYS (accounts.models.limits). Null: as for all users.
    max_age = models.DurationField(null=True, editable=False)

    # The service that its access tokens are for. Blank: our own API.
    audience = models.CharField(max_length=255, blank=True, default="", db_default="", editable=False)
    # The thumbprint (RFC 7638) of the key that its tokens (DPoP) or its session (DBSC) are bound to. Blank: unbound.
    key_thumbprint = models.CharField(
        max_length=43, blank=True, default="", db_default="", editable=False, db_column="bound_to"
    )

    # Of a browser's session that is bound to its device: the public key (RFC 7517), and when it was registered.
    device_key = models.TextField(blank=True, default="", db_default="", editable=False)
    bound_at = models.DateTimeField(null=True, editable=False)
    # Of an API key: the SHA-256 of its secret, and what it can do (KeyScope), separated by spaces.
    key_hash = models.CharField(max_length=64, blank=True, default="", db_default="", editable=False)
    scopes = models.CharField(max_length=40, blank=True, default="", db_default="", editable=False)

    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=20, choices=end_reasons, blank=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    # Set together with `ended_at` by code that announces the end. Otherwise database triggers revoke the tokens.
    is_end_announced = models.BooleanField(default=False, db_default=False, editable=False)

    # Support (accounts.support): the staff member who acts as the user, and their own sign-in. Null: the user acts.
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,
        # Code of 1.3 can delete the staff member. Then the sign-in is not live: `actor_sid` is deleted, too.
        db_constraint=False,
        verbose_name=_("staff member"),
    )
    actor_sid = models.UUIDField(null=True, editable=False)
    is_read_only = models.BooleanField(_("read only"), default=False, db_default=False, editable=False)
    # Of the staff member's own sign-in: with it end the support sign-ins that it has started.
    is_acting = models.BooleanField(default=False, db_default=False, editable=False)

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
        "max_age",
        "ended_at",
        "refresh_id",
        "previous_refresh_id",
        "refreshed_at",
        "audience",
        "key_thumbprint",
        "bound_at",
        "status_index",
        "authenticated_at",
        "methods",
        "actor_id",
        "actor_sid",
        "is_read_only",
        "is_acting",
    )

    # The staff member's own sign-in, which is_live() has read for a support sign-in.
    actor_sign_in: "SignIn | None" = None

    class Meta:
        verbose_name = _("sign-in")
        verbose_name_plural = _("sign-ins")
        base_manager_name = "objects"
        ordering = ["-last_seen_at"]
        permissions = [
            ("end_signin", "Can end sign-ins of others"),
            ("end_everyone", "Can end everyone's sign-ins, superusers' too"),
            ("sign_in_as", "Can sign in as users, and read what they can"),
            ("change_as", "Can make changes while signed in as a user"),
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
            # The few support sign-ins.
            models.Index(fields=["actor"], condition=models.Q(actor__isnull=False), name="sign_in_actor"),
            models.Index(fields=["actor_sid"], condition=models.Q(actor_sid__isnull=False), name="sign_in_actor_sid"),
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
        """The name of the device, in the active language. Users do not see the device of a staff member."""
        return str(_("Support staff")) if self.actor_sid else devices.name(self.user_agent)

    @property
    def label(self) -> str:
        """The name that the user gave it, or else the name of the device."""
        return self.name or self.device

    @property
    def icon(self) -> str:
        """The name of the icon: of an API key, or of the device."""
        return "key" if self.kind == self.Kind.API_KEY else devices.of(self.user_agent).icon

    @property
    def is_unused_key(self) -> bool:
        """Whether it is an API key that no request has used."""
        return self.kind == self.Kind.API_KEY and self.last_seen_at <= self.created_at

    def is_known_device(self, known: Iterable[tuple[str, devices.Device]]) -> bool:
        """Returns whether `known` has a device of the same kind, product and system."""
        device = devices.of(self.user_agent)
        return any(kind == self.kind and device.is_like(each) for kind, each in known)

    def is_live(self, now: datetime | None = None) -> bool:
        """
        Returns whether the sign-in is valid: neither ended nor expired, of an active user with the same password. No
        statement; up to three for a support sign-in, which also depends on the staff member.
        """
        now = now or timezone.now()
        return (
            self.ended_at is None
            and now < min(self.expires_at, self.max_expires_at)
            and self.user.is_active
            and not (self.user.is_service and self.kind == self.Kind.BROWSER)
            and not (self.kind != self.Kind.BROWSER and self.user.needs_bound_tokens and not self.key_thumbprint)
            and not (self.user.must_have_second_factor and self.level < 2 and self.actor_sid is None)
            and not (self.user.is_staff and self._is_beyond_staff_limits(now))
            and self._is_of_same_password()
            and (self.actor_sid is None or self._is_support_allowed(now))
        )

    def _is_support_allowed(self, now: datetime) -> bool:
        """Whether the staff member's own sign-in is live, and may still be used to sign in as the user."""
        own = SignIn.objects.select_related("user").filter(pk=self.actor_sid, user=self.actor_id).first()
        if own is None or own.actor_sid or not own.is_live(now):
            return False
        self.actor_sign_in, self.user.acting_staff = own, own.user
        return own.user.may_sign_in_as(self.user, self.is_read_only)

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
        has the level. accounts.factors.requirements knows which level an account needs. Never for a support sign-in:
        the user has proved nothing in it.
        """
        if self.actor_sid:
            return False
        age = timezone.now() - self.authenticated_at
        return self.level >= level and age < (settings.REAUTHENTICATION_TIMEOUT if within is None else within)

    def mark_reauthenticated(self, method: str = Method.PASSWORD) -> bool:
        """
        Records that the user has just proved `method` again, and returns whether it did. One statement. A password in a
        sign-in of level 2 records nothing while the account has a second factor; after the last one was removed, it
        lowers the level to 1.
        """
        methods = [*self.methods.split(), method]
        if level_of([method]) < self.level:
            if not get_user_model().objects.filter(pk=self.user_id).without_second_factor().exists():
                return False
            methods = [method]
        self.authenticated_at = timezone.now()
        self.methods = joined_methods(methods)
        SignIn.objects.filter(pk=self.pk).update(authenticated_at=self.authenticated_at, methods=self.methods)
        return True

    def rename(self, name: str) -> None:
        """Sets the name. One statement."""
        self.name = name
        SignIn.objects.filter(pk=self.pk).update(name=name)

    def end(self, reason: str) -> bool:
        """Ends the sign-in, and revokes its sessions and tokens. Returns False if it had ended before."""
        return bool(SignIn.objects.filter(pk=self.pk).end(reason))


@receiver(pre_delete, sender=SignIn)
def deleting_a_sign_in_ends_it(instance: SignIn, origin: Any = None, **kwargs: Any) -> None:
    """Sends `sign_ins_ended` before a sign-in is deleted, in any way that sends pre_delete."""
    if instance.ended_at is None:
        sign_ins_ended.send(sender=SignIn, sign_ins=[instance])
    elif getattr(origin, "_meta", getattr(getattr(origin, "model", None), "_meta", None)) is not get_user_model()._meta:
        # With the deletion of a user, all sign-ins were announced together (UserQuerySet._end_before_deletion).
        SignIn.objects.filter(pk=instance.pk).announce_before_deletion()
