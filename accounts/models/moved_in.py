"""Models of users who moved in from another site, and of their sign-ins there (accounts.moving_in)."""

import uuid
from datetime import datetime
from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.pruning import PrunableQuerySet


class MovedInUserQuerySet(PrunableQuerySet["MovedInUser"]):
    def prunable(self) -> Self:
        """Returns the rows of deleted users, SIGN_IN_MAX after their import. A later run would import them again."""
        users = get_user_model().objects.filter(pk=models.OuterRef("user_id"))
        imported_before = timezone.now() - settings.SIGN_IN_MAX
        return self.filter(~models.Exists(users), imported_at__lt=imported_before).order_by("pk")


class MovedInUser(models.Model):
    """
    A user whom `import_users` has created. The row outlasts the user, so that a later run creates no user twice, nor a
    deleted one again.
    """

    # The primary key there, which old tokens and sessions name.
    old_id = models.CharField(primary_key=True, max_length=64, editable=False)
    # No constraint in the database, since code of the previous release deletes users, and does not know this table.
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, db_constraint=False, related_name="+"
    )
    imported_at = models.DateTimeField(default=timezone.now, editable=False)
    # The sign-in that stands for all those of before: with it, they end. Null: none is taken. No foreign key, since
    # `prune` deletes the row of an ended sign-in.
    sign_in_id = models.UUIDField(null=True, editable=False)
    # What an old session contains of the imported password: a HMAC with the old secret key. Blank: none is taken.
    session_hash = models.CharField(max_length=64, blank=True, db_default="", default="", editable=False)
    # SHA-256 of what an old token may contain of it (SimpleJWT, CHECK_REVOKE_TOKEN).
    token_hash = models.CharField(max_length=64, blank=True, db_default="", default="", editable=False)

    objects: ClassVar[Any] = MovedInUserQuerySet.as_manager()

    class Meta:
        verbose_name = _("import record")
        verbose_name_plural = _("import records")

    def __str__(self) -> str:
        return self.old_id


class OldCredentialQuerySet(PrunableQuerySet["OldCredential"]):
    def prunable(self) -> Self:
        """Returns the expired credentials."""
        return self.filter(until__lt=timezone.now()).order_by("pk")

    def use(self, pk: uuid.UUID, user: Any, until: datetime) -> bool:
        """
        Marks a credential as used, and returns whether it was not used before. The caller has locked the user's row. At
        most two statements.
        """
        now = timezone.now()
        created = self.get_or_create(pk=pk, defaults={"user": user, "until": until, "used_at": now})[1]
        return created or bool(self.filter(pk=pk, user=user.pk, used_at=None).update(used_at=now))

    use.alters_data = True  # type: ignore[attr-defined]


class OldCredential(models.Model):
    """
    A token or session of before. The id is a hash of it: it cannot be used in its place. Sessions are imported; a token
    has a row once it is used or was on the old site's blacklist.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    # No constraint in the database, as in MovedInUser. Rows of deleted users expire.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, db_constraint=False, related_name="+"
    )
    until = models.DateTimeField(db_index=True)
    # Null: it can be used once.
    used_at = models.DateTimeField(null=True, editable=False)
    # The sign-in that it gave. Null: none.
    sign_in_id = models.UUIDField(null=True, editable=False)

    objects: ClassVar[Any] = OldCredentialQuerySet.as_manager()

    class Meta:
        verbose_name = _("sign-in of the site before")
        verbose_name_plural = _("sign-ins of the site before")

    def __str__(self) -> str:
        return str(self.pk)
