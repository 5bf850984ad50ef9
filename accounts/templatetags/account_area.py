"""Template tags of the account area: its side navigation, names of proved methods and of scopes."""

from typing import Any, NamedTuple

from django import template
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.models import KeyScope, Method

register = template.Library()


class Section(NamedTuple):
    """A page of the account area: its URL name, label and icon, and the URL names of the pages below it."""

    url_name: str
    label: Promise
    icon: str
    below: tuple[str, ...] = ()


SECTIONS = (
    Section("home", _("Overview"), "overview"),
    Section(
        "sign_ins",
        _("Sign-ins"),
        "devices",
        ("ended_sign_ins", "rename_sign_in", "end_sign_in", "end_other_sign_ins", "end_all_sign_ins"),
    ),
    Section("activity", _("Activity"), "activity", ("not_me",)),
    Section(
        "security",
        _("Security"),
        "shield",
        (
            "new_passkey",
            "app",
            "start_app",
            "new_recovery_codes",
            "rename_factor",
            "remove_factor",
            "password_change",
            "password_change_done",
        ),
    ),
    Section("developer", _("Developer"), "program", ("connect_client", "connect_device", "make_api_key")),
    Section("profile", _("Profile"), "person", ("email_change", "email_cancel", "delete_account")),
)


@register.inclusion_tag("accounts/area_navigation.html", takes_context=True)
def area_navigation(context: Any) -> dict[str, Any]:
    """Returns the sections with their URLs, and which of them has the page of the request."""
    match = context["request"].resolver_match
    current = match.url_name if match else ""
    sections = []
    for each in SECTIONS:
        state = "page" if each.url_name == current else "true" if current in each.below else ""
        sections.append({"url": reverse(each.url_name), "label": each.label, "icon": each.icon, "current": state})
    return {"sections": sections}


@register.filter
def method_names(methods: str) -> str:
    """Returns the names of SignIn.methods in the active language."""
    labels = dict(Method.choices)
    return ", ".join(str(labels[method]) for method in methods.split() if method in labels)


@register.filter
def scope_names(scopes: str) -> str:
    """Returns the names of SignIn.scopes in the active language."""
    labels = dict(KeyScope.choices)
    return ", ".join(str(labels[scope]) for scope in scopes.split() if scope in labels)
