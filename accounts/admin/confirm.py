"""Nothing is done to anybody before a page has said exactly what, and a second POST has agreed."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

CONFIRMED = "confirmed"
WHY_MAX_LENGTH = 200


def validate_printable(text: str) -> None:
    """One line, and nothing in it that a terminal or a log obeys."""
    if not text.isprintable():
        raise ValidationError(_("Use only letters, digits, spaces and punctuation, on one line."))


class WhyField(forms.CharField):
    def __init__(self) -> None:
        super().__init__(
            label=_("Reason"),
            help_text=_("Stored with the event. The user can read it."),
            max_length=WHY_MAX_LENGTH,
            validators=[validate_printable],
            widget=forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"}),
        )


class Confirmation(forms.Form):
    """Bound once somebody has agreed."""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request.POST if CONFIRMED in request.POST else None)

    @property
    def is_given(self) -> bool:
        return self.is_valid()


class ConfirmationWithReason(Confirmation):
    why = WhyField()


def ask(
    model_admin: admin.ModelAdmin,
    request: HttpRequest,
    form: forms.Form,
    *,
    title: Any,
    button: Any,
    facts: Sequence[tuple[Any, int]],
    notes: Sequence[Any] = (),
    back: str = "",
) -> TemplateResponse:
    """
    The page that asks; `facts` are words and how many. Agreeing sends the same action once more, on the same
    selection.
    """
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": title,
        "form": form,
        "button": button,
        "facts": facts,
        "notes": notes,
        "is_of_use": any(number for _words, number in facts[:1]),
        "kept": [
            (name, value)
            for name in ("action", "select_across", ACTION_CHECKBOX_NAME)
            for value in request.POST.getlist(name)
        ],
        "confirmed": CONFIRMED,
        "back": back or request.get_full_path(),
    }
    return TemplateResponse(request, "admin/confirm.html", context)
