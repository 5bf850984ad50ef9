"""Profiles: the names of a user, and an abstract model for the fields that a product adds, in a table of its own."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.changed_columns import ChangedColumnsModel
from accounts.names import validate_visible


class ProfiledUser(models.Model):
    """The part of a user that the profile page shows."""

    first_name = models.CharField(_("first name"), max_length=150, blank=True, validators=[validate_visible])
    last_name = models.CharField(_("last name"), max_length=150, blank=True, validators=[validate_visible])

    class Meta:
        abstract = True

    def get_profile(self) -> Any:
        """Returns the user's row of PROFILE_MODEL, or a new one that is not saved. At most one statement."""
        try:
            return self.profile  # type: ignore[attr-defined]
        except ObjectDoesNotExist:
            # The new instance is now `self.profile`, so that the next call runs no statement.
            return apps.get_model(settings.PROFILE_MODEL)(user=self)


class UserProfile(ChangedColumnsModel):
    """
    The base of PROFILE_MODEL. Its fields are those that a product adds to users. A user without a row has the defaults.
    A table of its own: updates of this project change the table of users, and a product its own, without a conflict.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="profile", editable=False
    )

    # The fields that users read and change, on the profile page and in /api/me/. Staff change all editable fields.
    PROFILE_FIELDS: ClassVar[Sequence[str]] = ("first_name", "last_name")
    # Those of PROFILE_FIELDS that the sign-up asks for.
    SIGN_UP_FIELDS: ClassVar[Sequence[str]] = ()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return str(self.user)


def profile_model() -> type[UserProfile] | None:
    """Returns PROFILE_MODEL; None without one."""
    return apps.get_model(settings.PROFILE_MODEL) if settings.PROFILE_MODEL else None
