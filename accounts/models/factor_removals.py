"""The model of a pending removal of all second factors of a user, which a staff member has requested."""

import uuid
from datetime import timedelta
from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

# The user can stop the removal until then, by the link in the mail about it.
REMOVAL_DELAY = timedelta(hours=24)
REASON_MAX_LENGTH = 200


class FactorRemovalQuerySet(models.QuerySet["FactorRemoval"]):
    def of(self, user: Any) -> Self:
        """Returns the pending removal of this user; at most one row."""
        return self.filter(user=user.pk)

    def due(self) -> Self:
        """Returns the removals whose delay is over."""
        return self.filter(created_at__lte=timezone.now() - REMOVAL_DELAY)

    def manageable_by(self, staff: Any) -> Self:
        """Returns the removals of users whom a staff member may manage."""
        return self if staff.is_superuser else self.filter(user__is_superuser=False)


class FactorRemoval(models.Model):
    """A pending removal. accounts.factors.removals carries it out after REMOVAL_DELAY; its row is then deleted."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", verbose_name=_("user")
    )
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", verbose_name=_("by")
    )
    why = models.CharField(_("reason"), max_length=REASON_MAX_LENGTH)
    created_at = models.DateTimeField(_("requested"), default=timezone.now, db_index=True)

    objects: ClassVar[Any] = FactorRemovalQuerySet.as_manager()

    class Meta:
        verbose_name = _("removal of second factors")
        verbose_name_plural = _("removals of second factors")
        default_permissions: ClassVar[list[str]] = []
        ordering: ClassVar[list[str]] = ["created_at", "pk"]

    def __str__(self) -> str:
        return str(self.user)

    @property
    def due_at(self) -> Any:
        """When the factors are removed."""
        return self.created_at + REMOVAL_DELAY
