"""Pages of the account: profile, password, e-mail address, deletion."""

from typing import Any

from django.contrib import messages
from django.contrib.auth import views as auth_views
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import Form
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import FormView, TemplateView, UpdateView, View

from accounts import email_addresses, forms, known_browsers, passwords, rate_limits
from accounts.factors import requirements
from accounts.models import AccountChanged, User
from accounts.sessions import SignedInRequest
from accounts.views.mailed_links import MailedLinkView
from accounts.views.sign_in import ReauthenticationRequiredMixin, SecondFactorRequiredMixin, sign_out_and_render


class ProfileView(LoginRequiredMixin, UpdateView):
    """The profile of the signed-in user."""

    request: SignedInRequest
    form_class = forms.ProfileForm
    template_name = "accounts/profile.html"
    success_url = reverse_lazy("profile")

    def get_object(self, queryset: QuerySet[User] | None = None) -> User:
        return self.request.user

    def form_valid(self, form: forms.ProfileForm) -> HttpResponse:
        messages.success(self.request, _("Saved."))
        return super().form_valid(form)


class PasswordChangeView(SecondFactorRequiredMixin, auth_views.PasswordChangeView):
    """
    Changes the password. The form contains the current password: a proof is needed for a second factor only. A user
    without a password sets the first one after a recent proof.
    """

    request: SignedInRequest
    form_class = forms.PasswordChangeForm
    template_name = "accounts/password_change.html"
    success_url = reverse_lazy("password_change_done")

    def get_form_class(self) -> type[forms.PasswordChangeForm]:
        return forms.PasswordChangeForm if requirements.has_password(self.request.user) else forms.FirstPasswordForm

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"request": self.request}

    def form_valid(self, form: forms.PasswordChangeForm) -> HttpResponse:
        try:
            response = super().form_valid(form)
        except rate_limits.TooManyAttempts as error:
            form.add_error(None, error)
            return self.form_invalid(form)
        known_browsers.mark_known(self.request, form.user)
        return response


class PasswordResetView(auth_views.PasswordResetView):
    """Mails a reset link. The response is the same if no account has the address."""

    form_class = forms.PasswordResetForm  # type: ignore[assignment]
    template_name = "accounts/password_reset.html"


@method_decorator(sensitive_post_parameters("new_password1", "new_password2"), name="dispatch")
class PasswordResetConfirmView(MailedLinkView):
    """Sets a new password by a reset link."""

    form_class = forms.SetPasswordForm
    template_name = "accounts/password_reset_confirm.html"
    success_url = reverse_lazy("password_reset_complete")

    def get_user(self) -> User | None:
        return passwords.get_by_reset_token(self.kwargs["uidb64"], self.kwargs["token"])

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"user": self.user}

    def form_valid(self, form: forms.SetPasswordForm) -> HttpResponse:
        try:
            form.save()
        except rate_limits.TooManyAttempts as error:
            form.add_error(None, error)
            return self.form_invalid(form)
        # The user can sign in with this browser even while wrong guesses of others lock the account.
        known_browsers.mark_known(self.request, form.user)
        return super().form_valid(form)


class EmailChangeView(ReauthenticationRequiredMixin, FormView):
    """Mails a confirmation link to the new address."""

    request: SignedInRequest
    form_class = forms.EmailChangeForm
    template_name = "accounts/email_change.html"
    success_url = reverse_lazy("profile")

    def form_valid(self, form: forms.EmailChangeForm) -> HttpResponse:
        new_email = form.cleaned_data["new_email"]
        try:
            email_addresses.request_change(self.request.user, new_email)
        except ValidationError as error:
            form.add_error("new_email", error)
            return self.form_invalid(form)
        text = _("We are sending a link to %(address)s. Your e-mail address changes when you open the link.")
        messages.success(self.request, text % {"address": new_email})
        return super().form_valid(form)


class SendConfirmationView(LoginRequiredMixin, View):
    """Mails the confirmation link again, if an address is waiting for confirmation."""

    def post(self, request: SignedInRequest) -> HttpResponse:
        if address := email_addresses.resend_confirmation(request.user):
            messages.success(request, _("We are sending a link to %(address)s.") % {"address": address})
        return redirect("profile")


class CancelEmailChangeView(LoginRequiredMixin, TemplateView):
    """Cancels a pending change of the address."""

    request: SignedInRequest
    template_name = "accounts/email_cancel.html"

    def post(self, request: SignedInRequest) -> HttpResponse:
        if request.user.cancel_email_change():
            messages.success(request, _("The change was cancelled. Your e-mail address stays the same."))
        return redirect("profile")


class EmailConfirmView(MailedLinkView):
    """Confirms an address by a mailed link."""

    form_class = Form
    template_name = "accounts/email_confirm.html"

    def get_user(self) -> User | None:
        return email_addresses.get_by_token(self.kwargs["uidb64"], self.kwargs["token"])

    def render_invalid_link(self) -> HttpResponse:
        """A link that has been used shows the confirmed address. Any other invalid link shows no address."""
        if user := email_addresses.get_by_used_token(self.kwargs["uidb64"], self.kwargs["token"]):
            return render(self.request, "accounts/email_confirmed.html", {"address": user.email, "already": True})
        return super().render_invalid_link()

    def form_valid(self, form: Form) -> HttpResponse:
        try:
            user = email_addresses.confirm(self.kwargs["uidb64"], self.kwargs["token"])
        except AccountChanged:
            return self.render_invalid_link()
        return render(self.request, "accounts/email_confirmed.html", {"address": user.email, "already": False})


@method_decorator(sensitive_post_parameters("password"), name="dispatch")
class DeleteAccountView(SecondFactorRequiredMixin, FormView):
    """Deletes the account after the password was entered, or a second factor was proved."""

    request: SignedInRequest
    template_name = "accounts/delete.html"

    def get_form(self, form_class: Any = None) -> Form:
        user = self.request.user
        if requirements.has_second_factor(user) or not requirements.has_password(user):
            return Form(**self.get_form_kwargs())
        return forms.ReauthenticationForm(self.request, **self.get_form_kwargs())

    def form_valid(self, form: Form) -> HttpResponse:
        self.request.user.delete()
        return sign_out_and_render(self.request, "accounts/deleted.html")
