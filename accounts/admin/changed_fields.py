"""Form that saves only the fields that the staff member changed."""

from typing import Any

from django import forms
from django.contrib.auth.forms import UserChangeForm

from accounts.models import User


class ChangedFieldsForm(forms.ModelForm):
    """
    Compares each field with the value that the page showed, which is sent in a hidden field, and saves the fields that
    differ. A page that was open for an hour does not overwrite the changes of other requests.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A program may send the form without the hidden values: its fields are compared with the row.
        has_hidden_values = any(self.add_initial_prefix(name) in self.data for name in self.fields)
        for field in self.fields.values():
            field.show_hidden_initial = (has_hidden_values or not self.is_bound) and not field.disabled

    def _clean_form(self) -> None:
        super()._clean_form()  # type: ignore[misc]
        for name in self.cleaned_data.keys() - set(self.changed_data):
            # Removed, so that construct_instance() and _save_m2m() do not write it.
            del self.cleaned_data[name]


class UserForm(ChangedFieldsForm, UserChangeForm):
    """The form of a user's page."""

    class Meta(UserChangeForm.Meta):
        model = User
