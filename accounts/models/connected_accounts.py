"""The model of a connected account: an account at a provider (Google, GitHub, OpenID) by which a user signs in."""

import uuid
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Self

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import names

LABEL_MAX_LENGTH = 254


class Identity(NamedTuple):
    """Who came back from a provider: the account there, and what the provider says about its owner."""

    # The id in OPENID_PROVIDERS, and the account's permanent id there (`sub`).
    provider: str
    subject: str
    email: str = ""
    # Whether the provider says that it has verified the address.
    is_verified: bool = False
    username: str = ""
    # When the user signed in there (`auth_time`). None: the provider does not say.
    authenticated_at: datetime | None = None

    @property
    def label(self) -> str:
        """What the owner knows the account by."""
        return names.INVISIBLE.sub("", self.email or self.username)[:LABEL_MAX_LENGTH]


class ConnectedAccountQuerySet(models.QuerySet["ConnectedAccount"]):
    def of(self, user: Any) -> Self:
        """Returns the connected accounts of this user."""
        return self.filter(user=user.pk)

    def usable(self) -> Self:
        """Returns those whose provider is configured."""
        return self.filter(provider__in=settings.OPENID_PROVIDERS)

    def get_by_identity(self, identity: Identity) -> Any:
        """Returns the account with its user, or None. One statement."""
        return self.select_related("user").filter(provider=identity.provider, subject=identity.subject).first()


class ConnectedAccount(models.Model):
    """An account at a provider. No token of the provider is stored."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="connected_accounts")
    provider = models.CharField(_("provider"), max_length=30)
    # Never an e-mail address, which can get another owner.
    subject = models.CharField(_("id at the provider"), max_length=255)
    label = models.CharField(_("name"), max_length=LABEL_MAX_LENGTH, blank=True, db_default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)

    objects: ClassVar[Any] = ConnectedAccountQuerySet.as_manager()

    class Meta:
        verbose_name = _("connected account")
        verbose_name_plural = _("connected accounts")
        default_permissions: ClassVar[list[str]] = []
        ordering: ClassVar[list[str]] = ["created_at", "pk"]
        constraints = [models.UniqueConstraint(fields=["provider", "subject"], name="one_user_of_connected_account")]

    def __str__(self) -> str:
        return self.label or self.provider_name

    @property
    def provider_name(self) -> str:
        """The name of the provider, or its id if it is no longer configured."""
        provider: dict[str, Any] = settings.OPENID_PROVIDERS.get(self.provider, {})
        return str(provider.get("name", self.provider))

    def mark_used(self) -> None:
        """Records a sign-in by it. One statement."""
        self.last_used_at = timezone.now()
        ConnectedAccount.objects.filter(pk=self.pk).update(last_used_at=self.last_used_at)
