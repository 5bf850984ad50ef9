"""The fields of PROFILE_MODEL on the page of a user."""

from typing import Any

from django.contrib import admin
from django.forms import BaseInlineFormSet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts import profiles
from accounts.admin.changed_fields import ChangedFieldsForm
from accounts.models import User, UserProfile
from accounts.models.profiles import profile_model


class ProfileFormSet(BaseInlineFormSet):
    """Saves the row as the profile page does, which may create it at the same time."""

    def save_new(self, form: Any, commit: bool = True) -> UserProfile:
        return self._save(form)

    def save_existing(self, form: Any, obj: Any, commit: bool = True) -> UserProfile:
        return self._save(form)

    def _save(self, form: Any) -> UserProfile:
        profiles.save(self.instance, {name: form.cleaned_data[name] for name in form.changed_data})
        row: UserProfile = self.instance.get_profile()
        return row


class ProfileInline(admin.StackedInline):
    """Staff may view and change it as they may the user. `model` is PROFILE_MODEL."""

    form = ChangedFieldsForm
    formset = ProfileFormSet
    can_delete = False
    verbose_name_plural = _("Profile")

    def has_view_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return self._admin_of_users.has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return self._admin_of_users.has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return self._admin_of_users.has_change_permission(request, obj)

    @property
    def _admin_of_users(self) -> admin.ModelAdmin:
        return self.admin_site.get_model_admin(User)


def inlines() -> list[type[admin.options.InlineModelAdmin]]:
    """Returns the inline of PROFILE_MODEL; none without one."""
    model = profile_model()
    return [type("Inline", (ProfileInline,), {"model": model})] if model else []


def changed_names(formsets: list[Any]) -> list[str]:
    """Returns the names of the fields that were changed in these form sets."""
    return [name for formset in formsets for form in formset.forms for name in form.changed_data]
