"""Models of second factors: passkeys, authenticator apps, recovery codes, and the signed steps that were used."""

import uuid
from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models.choices import Method
from accounts.models.used_once import UsedOnce
from accounts.pruning import PrunableQuerySet

NAME_MAX_LENGTH = 60
# NIST SP 800-63B-4, section 3.2.2: no more wrong codes in a row for one authenticator.
MAX_FAILURES = 100


class FactorQuerySet(models.QuerySet["Factor"]):
    def of(self, user: Any) -> Self:
        """Returns the factors of this user."""
        return self.filter(user=user.pk)

    def enabled(self) -> Self:
        """Returns the factors that are not disabled."""
        return self.filter(disabled_at=None)

    def count_failure(self) -> list[Any]:
        """
        Counts a wrong code, and disables the factors that have had MAX_FAILURES in a row. Returns those that it has
        disabled. Two statements.
        """
        self.update(failures=models.F("failures") + 1)
        exhausted = list(self.enabled().filter(failures__gte=MAX_FAILURES))
        now = timezone.now()
        return [each for each in exhausted if self.enabled().filter(pk=each.pk).update(disabled_at=now)]


class Factor(models.Model):
    """The fields of each second factor. The id is what pages and the API name it by."""

    # The method that it proves, and its kind in the API.
    METHOD: ClassVar[str]
    KIND: ClassVar[str]

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(_("name"), max_length=NAME_MAX_LENGTH, blank=True, db_default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    # Wrong codes in a row. A passkey has none: its signatures cannot be guessed.
    failures = models.PositiveIntegerField(db_default=0, default=0, editable=False)
    disabled_at = models.DateTimeField(null=True, editable=False)

    objects: ClassVar[Any] = FactorQuerySet.as_manager()

    class Meta:
        abstract = True
        ordering: ClassVar[list[str]] = ["created_at", "pk"]

    def __str__(self) -> str:
        return self.name or str(self._meta.verbose_name)

    @property
    def label(self) -> str:
        """The name that the user gave it, or else the name of its kind."""
        return str(self)


class Passkey(Factor):
    """A WebAuthn credential. The table has public keys only, so that a dump of it gives no access."""

    METHOD = Method.PASSKEY
    KIND = "passkey"

    credential_id = models.BinaryField(max_length=1023, unique=True, editable=False)
    # In COSE format (RFC 9052).
    public_key = models.BinaryField(editable=False)
    # The random user handle: the same for all passkeys of a user, and unrelated to the primary key.
    user_handle = models.BinaryField(max_length=64, editable=False)
    sign_count = models.BigIntegerField(db_default=0, default=0, editable=False)
    # The make of the authenticator, which it claims itself.
    aaguid = models.UUIDField(editable=False)
    transports = models.CharField(max_length=100, blank=True, db_default="", editable=False)
    is_backup_eligible = models.BooleanField(editable=False)
    is_backed_up = models.BooleanField(editable=False)

    class Meta(Factor.Meta):
        verbose_name = _("passkey")
        verbose_name_plural = _("passkeys")


class AuthenticatorApp(Factor):
    """A time-based one-time password (RFC 6238). The secret is encrypted with a key derived from SECRET_KEY."""

    METHOD = Method.TOTP
    KIND = "totp"

    secret = models.BinaryField(editable=False)
    # Null: the user has not entered a code of it yet, and it is no factor.
    confirmed_at = models.DateTimeField(null=True, editable=False)
    # The time step of the last accepted code: neither it nor an earlier one is accepted again.
    last_used_step = models.BigIntegerField(db_default=0, default=0, editable=False)

    class Meta(Factor.Meta):
        verbose_name = _("authenticator app")
        verbose_name_plural = _("authenticator apps")


class RecoveryCodeSet(Factor):
    """The recovery codes of a user: one set, which new codes replace."""

    METHOD = Method.RECOVERY_CODE
    KIND = "recovery_codes"

    class Meta(Factor.Meta):
        verbose_name = _("recovery codes")
        verbose_name_plural = _("recovery codes")
        constraints = [models.UniqueConstraint(fields=["user"], name="one_recovery_code_set")]


class RecoveryCode(models.Model):
    """A recovery code that is valid once. Only its password hash is stored, and the number that selects it."""

    code_set = models.ForeignKey(RecoveryCodeSet, on_delete=models.CASCADE, related_name="codes")
    number = models.PositiveSmallIntegerField()
    hash = models.CharField(max_length=128, editable=False)
    used_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["code_set", "number"], name="recovery_code_number")]

    def __str__(self) -> str:
        return str(self.number)


class FactorRemovalQuerySet(PrunableQuerySet["FactorRemoval"]):
    def of(self, user: Any) -> Self:
        """Returns the removals of this user."""
        return self.filter(user=user.pk)

    def pending(self) -> Self:
        """Returns the removals that were neither stopped nor carried out: at most one of each user."""
        return self.filter(closed_at=None)

    def due(self) -> Self:
        """Returns the pending removals whose delay is over."""
        return self.pending().filter(due_at__lte=timezone.now())

    def manageable_by(self, staff: Any) -> Self:
        """Returns the removals of the users that a staff member may manage."""
        return self if staff.is_superuser else self.filter(user__is_superuser=False)

    def prunable(self) -> Self:
        """Returns the closed removals. Their events are kept."""
        return self.filter(closed_at__isnull=False)


class FactorRemoval(models.Model):
    """A removal of all second factors of a user that staff requested. The user can stop it until it is due."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    why = models.CharField(_("reason"), max_length=200)
    requested_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField()
    # When it was stopped or carried out. Null: it is pending.
    closed_at = models.DateTimeField(null=True)

    objects: ClassVar[Any] = FactorRemovalQuerySet.as_manager()

    class Meta:
        verbose_name = _("removal of second factors")
        verbose_name_plural = _("removals of second factors")
        default_permissions: ClassVar[list[str]] = []
        permissions = [("remove_factors", "Can remove second factors of users")]
        constraints = [
            models.UniqueConstraint(
                fields=["user"], condition=models.Q(closed_at__isnull=True), name="one_pending_factor_removal"
            )
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name}, {self.due_at:%Y-%m-%d %H:%M}"

    def close(self) -> bool:
        """Marks a pending removal as stopped or carried out. Returns whether it was pending. One statement."""
        now = timezone.now()
        return bool(type(self)._base_manager.filter(pk=self.pk, closed_at=None).update(closed_at=now))


class UsedStep(UsedOnce):
    """A signed step that was used (accounts.factors.second_step)."""


def has_second_factor() -> models.Q:
    """
    Returns a condition on users: they have a passkey or an authenticator app. A disabled one counts, or wrong codes
    would remove the second step.
    """
    passkeys = Passkey.objects.filter(user=models.OuterRef("pk"))
    apps = AuthenticatorApp.objects.filter(user=models.OuterRef("pk"), confirmed_at__isnull=False)
    return models.Q(models.Exists(passkeys)) | models.Q(models.Exists(apps))
