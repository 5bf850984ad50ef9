"""The action with which a staff member signs in as a user, for support."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext_lazy as _

from accounts import support
from accounts.admin import confirm
from accounts.models import SignInRefused, User, UserQuerySet
from accounts.sessions import SignedInRequest
from accounts.views.support import keep_own_session


class SupportForm(confirm.ConfirmationWithReason):
    """Asks for a reason, and whether changes are needed, if the staff member may make them."""

    changes = forms.BooleanField(
        label=_("Make changes"), required=False, help_text=_("Without it, you can read what the user can.")
    )

    def __init__(self, request: SignedInRequest, user: User) -> None:
        super().__init__(request)
        if not request.user.may_sign_in_as(user, is_read_only=False):
            del self.fields["changes"]


def may_sign_in_as(staff: Any, user: User) -> bool:
    """Whether the page of the user shows the action. At most two statements."""
    may: bool = staff.may_sign_in_as(user)
    return may


@admin.action(description=_("Sign in as this user"), permissions=["sign_in_as"])
def sign_in_as(model_admin: admin.ModelAdmin, request: SignedInRequest, users: UserQuerySet) -> HttpResponse | None:
    chosen: list[User] = list(users.order_by("pk")[:2])
    if len(chosen) != 1 or not request.user.may_sign_in_as(chosen[0]):
        model_admin.message_user(request, _("Select one user, who is not a staff member."), messages.ERROR)
        return None
    user, form = chosen[0], SupportForm(request, chosen[0])
    if not form.is_confirmed:
        return _confirm(model_admin, request, user, form)
    own_key, why = request.session.session_key or "", form.cleaned_data["why"]
    try:
        support.start(request, user, why, is_read_only=not form.cleaned_data.get("changes", False))
    except SignInRefused:
        model_admin.message_user(request, _("The account has changed. Nothing was done."), messages.ERROR)
        return None
    response = redirect("home")
    keep_own_session(response, own_key)
    return response


def _confirm(model_admin: admin.ModelAdmin, request: SignedInRequest, user: User, form: Any) -> HttpResponse:
    return confirm.page(
        model_admin,
        request,
        form,
        title=_("Sign in as this user?"),
        button=_("Sign in as user"),
        effects=[(_("account that you see as its user does, for at most 30 minutes"), 1)],
        notes=[
            user.username,
            _("The user gets an e-mail, and sees the sign-in on the list and in the activity, with your reason."),
            _("Your own sign-in goes on. If it ends, so does this one."),
        ],
    )
