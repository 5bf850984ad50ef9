"""A form that saves the fields that its user changed on the page."""

from typing import Any

from django import forms
from django.contrib.auth.forms import UserChangeForm

from accounts.models import User


class SeenFieldsForm(forms.ModelForm):
    """
    The page carries the values that it showed. A page that was open for an hour does not bring back what others have
    changed since: only the fields that differ from what it showed are saved.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A program may send the form without these values; its fields are compared with the row.
        carries_seen = any(self.add_initial_prefix(name) in self.data for name in self.fields)
        for field in self.fields.values():
            field.show_hidden_initial = (carries_seen or not self.is_bound) and not field.disabled

    def _clean_form(self) -> None:
        super()._clean_form()  # type: ignore[misc]
        for name in self.cleaned_data.keys() - set(self.changed_data):
            # Neither the instance nor its relations are given this value.
            del self.cleaned_data[name]


class UserForm(SeenFieldsForm, UserChangeForm):
    class Meta(UserChangeForm.Meta):
        model = User
