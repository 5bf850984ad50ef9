"""The model of a device that waits until its user allows it to sign in, in a browser (RFC 8628)."""

import hashlib
import secrets
import uuid
from datetime import timedelta
from typing import Any, ClassVar, NamedTuple, Self

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import devices, rate_limits
from accounts.http import request_context
from accounts.pruning import PrunableQuerySet

LIFETIME = timedelta(minutes=10)
# How long a device waits between two requests; after a request that is too early, 5 seconds more (RFC 8628, 3.5).
POLL_SECONDS = 5
MAX_POLL_SECONDS = 60
CLIENT_NAME_MAX_LENGTH = 60
# RFC 8628, section 6.1: no vowels, so that no words appear. 20^8 codes have 34 bits, and guesses are rate-limited.
USER_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
USER_CODE_LENGTH = 8
MAX_DRAWS = 5


class NewCodes(NamedTuple):
    """The codes of a new row, neither of which is stored."""

    device_code: str
    user_code: str


def normalised(user_code: str) -> str:
    """Returns the letters of a user code as they are drawn: in upper case, without what separates them."""
    return "".join(letter for letter in user_code.upper() if letter.isalnum())


def _digests(user_code: str) -> list[uuid.UUID]:
    """The digests by SECRET_KEY and each fallback key, since nodes use different keys while it is changed."""
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return [rate_limits.digest("user code", normalised(user_code), secret=key) for key in keys]


def _hash(device_code: str) -> str:
    """The stored form of a device code. It has 256 random bits, so that an unsalted hash is enough."""
    return hashlib.sha256(device_code.encode(errors="replace")).hexdigest()


class DeviceCodeQuerySet(PrunableQuerySet["DeviceCode"]):
    def prunable(self) -> Self:
        """Returns the rows that have expired an hour ago: until then, the device learns that its code has expired."""
        return self.filter(expires_at__lt=timezone.now() - timedelta(hours=1))

    def undecided(self) -> Self:
        """Returns the rows that wait for their user."""
        return self.filter(approved_in=None, denied_at=None, expires_at__gt=timezone.now())

    def get_by_user_code(self, user_code: str) -> "DeviceCode | None":
        """Returns the waiting row with this user code, or None. One statement."""
        return self.undecided().filter(user_code__in=_digests(user_code)).first()

    def get_by_device_code(self, device_code: str) -> "DeviceCode | None":
        """Returns the row with this device code, also a decided or expired one, or None. One statement."""
        return self.filter(pk=_hash(device_code)).first()


class DeviceCodeManager(models.Manager.from_queryset(DeviceCodeQuerySet)):  # type: ignore[misc]
    def start(self, client_name: str) -> NewCodes:
        """Adds a row for the device that makes the request, and returns its codes. One statement."""
        for _draw in range(MAX_DRAWS):
            device_code = secrets.token_urlsafe(32)
            letters = "".join(secrets.choice(USER_CODE_LETTERS) for _ in range(USER_CODE_LENGTH))
            try:
                with transaction.atomic():
                    self._insert(device_code, letters, client_name)
            except IntegrityError:
                # Another device waits with this user code.
                continue
            return NewCodes(device_code, f"{letters[:4]}-{letters[4:]}")
        raise RuntimeError("No user code is unused.")

    def _insert(self, device_code: str, letters: str, client_name: str) -> None:
        now = timezone.now()
        self.create(
            pk=_hash(device_code),
            user_code=_digests(letters)[0],
            client_name=client_name,
            user_agent=request_context.user_agent(),
            ip_address=request_context.ip_address(),
            created_at=now,
            expires_at=now + LIFETIME,
        )


class DeviceCode(models.Model):
    """A device that waits until its user allows it to sign in. The row has hashes of its codes."""

    id = models.CharField(_("SHA-256 of the device code"), max_length=64, primary_key=True)
    user_code = models.UUIDField(_("digest of the user code"), unique=True, editable=False)
    # The name that the device gives itself, and where its request came from.
    client_name = models.CharField(max_length=CLIENT_NAME_MAX_LENGTH)
    user_agent = models.CharField(max_length=request_context.USER_AGENT_MAX_LENGTH, blank=True)
    ip_address = models.GenericIPAddressField(null=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    polled_at = models.DateTimeField(null=True)
    poll_seconds = models.PositiveSmallIntegerField(default=POLL_SECONDS, db_default=POLL_SECONDS)
    # The decision. No foreign keys: the row outlives neither the sign-in nor the user by more than an hour.
    approved_in = models.UUIDField(_("sid of the browser that allowed it"), null=True, editable=False)
    owner_id = models.BigIntegerField(null=True, editable=False)
    # User.generation at that time: an end of all sign-ins since then ends this one, too.
    generation = models.PositiveBigIntegerField(null=True, editable=False)
    name = models.CharField(max_length=60, blank=True, default="", db_default="")
    denied_at = models.DateTimeField(null=True)

    objects: ClassVar[DeviceCodeManager] = DeviceCodeManager()

    class Meta:
        verbose_name = _("device code")
        verbose_name_plural = _("device codes")
        default_permissions = ()

    def __str__(self) -> str:
        return self.client_name

    @property
    def device(self) -> str:
        """The name of the device, in the active language."""
        return devices.name(self.user_agent)

    @property
    def is_expired(self) -> bool:
        return self.expires_at <= timezone.now()

    def approve(self, sign_in: Any, generation: int, name: str) -> bool:
        """Lets the device sign in as the user of `sign_in`. Returns False if it no longer waits. One statement."""
        return self._decide(approved_in=sign_in.pk, owner_id=sign_in.user_id, generation=generation, name=name)

    def deny(self) -> bool:
        """Refuses the device. Returns False if it no longer waits. One statement."""
        return self._decide(denied_at=timezone.now())

    def _decide(self, **fields: Any) -> bool:
        return bool(DeviceCode.objects.filter(pk=self.pk).undecided().update(**fields))

    def polls_too_early(self) -> bool:
        """Records a request of the device. Returns whether it came before `poll_seconds` had passed. One statement."""
        now = timezone.now()
        is_early = self.polled_at is not None and now - self.polled_at < timedelta(seconds=self.poll_seconds)
        if is_early:
            self.poll_seconds = min(self.poll_seconds + 5, MAX_POLL_SECONDS)
        DeviceCode.objects.filter(pk=self.pk).update(polled_at=now, poll_seconds=self.poll_seconds)
        return is_early

    def use_up(self) -> bool:
        """Deletes the row. Returns False if another request has. One statement."""
        return bool(DeviceCode.objects.filter(pk=self.pk)._raw_delete(DeviceCode.objects.db))
