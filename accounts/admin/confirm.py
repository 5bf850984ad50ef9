"""The confirmation page of admin actions: it states the effects; a second POST runs the action."""

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
REASON_MAX_LENGTH = 200

# Each effect: a text, and how many objects it concerns.
Effects = Sequence[tuple[Any, int]]


def validate_printable(text: str) -> None:
    """Raises ValidationError for line breaks and control characters, which a terminal or a log would interpret."""
    if not text.isprintable():
        raise ValidationError(_("Use only letters, digits, spaces and punctuation, on one line."))


class ReasonField(forms.CharField):
    def __init__(self) -> None:
        super().__init__(
            label=_("Reason"),
            help_text=_("Stored with the event. The user can read it."),
            max_length=REASON_MAX_LENGTH,
            validators=[validate_printable],
            widget=forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"}),
        )


class Confirmation(forms.Form):
    """Bound if the confirmation page was submitted."""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request.POST if CONFIRMED in request.POST else None)

    @property
    def is_confirmed(self) -> bool:
        return self.is_valid()


class ConfirmationWithReason(Confirmation):
    why = ReasonField()


def page(
    model_admin: admin.ModelAdmin,
    request: HttpRequest,
    form: forms.Form,
    *,
    title: Any,
    button: Any,
    effects: Effects,
    notes: Sequence[Any] = (),
    cancel_url: str = "",
    is_severe: bool = False,
) -> TemplateResponse:
    """
    Returns the confirmation page. Its form sends the same action on the same selection again. The button is shown if
    the first effect concerns at least one object; it is red if `is_severe`, or for one of the severe_actions.
    """
    is_severe = is_severe or request.POST.get("action") in getattr(model_admin, "severe_actions", ())
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": title,
        "form": form,
        "button": button,
        "effects": effects,
        "notes": notes,
        "is_severe": is_severe,
        "has_effect": any(count for _text, count in effects[:1]),
        "hidden_fields": [
            (name, value)
            for name in ("action", "select_across", ACTION_CHECKBOX_NAME)
            for value in request.POST.getlist(name)
        ],
        "confirmed": CONFIRMED,
        "cancel_url": cancel_url or request.get_full_path(),
    }
    return TemplateResponse(request, "admin/confirm.html", context)
