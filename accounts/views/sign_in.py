"""Pages to sign in, sign up, sign out and re-authenticate."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth import login, logout
from django.contrib.auth import views as auth_views
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import RedirectURLMixin, redirect_to_login
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import FormView, View

from accounts import forms
from accounts.factors import requirements
from accounts.http.headers import CLEAR_SITE_DATA
from accounts.models import SignIn, SignInRefused
from accounts.sessions import BrowserRequest, SignedInRequest


class SignInView(auth_views.LoginView):
    """The sign-in page."""

    request: BrowserRequest
    form_class = forms.SignInForm
    template_name = "accounts/login.html"

    def form_valid(self, form: forms.SignInForm) -> HttpResponse:
        try:
            login(self.request, form.get_user())
        except SignInRefused:
            form.add_error(None, form.get_invalid_login_error())
            return self.form_invalid(form)
        if form.cleaned_data["keep"]:
            self.request.session.remember_me()
        return redirect(self.get_success_url())


def sign_out_and_render(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    """Signs out, and renders a page in the same response. The browser clears its cached pages."""
    logout(request)
    response = render(request, template, context)
    response["Clear-Site-Data"] = CLEAR_SITE_DATA
    return response


class SignOutView(View):
    """Signs out. Accepts POST only."""

    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest) -> HttpResponse:
        return sign_out_and_render(request, "accounts/logged_out.html")


@method_decorator(sensitive_post_parameters("password1", "password2"), name="dispatch")
class SignUpView(FormView):
    """Creates an account and signs in."""

    form_class = forms.SignUpForm
    template_name = "accounts/signup.html"
    success_url = reverse_lazy("home")

    def form_valid(self, form: forms.SignUpForm) -> HttpResponse:
        try:
            user = form.save()
        except ValidationError as error:
            form.add_error(None, error)
            return self.form_invalid(form)
        login(self.request, user)
        messages.success(self.request, _("Welcome, %(name)s.") % {"name": user.username})
        return super().form_valid(form)


class ReauthenticationRequiredMixin(LoginRequiredMixin):
    """
    For sensitive pages: redirects to ReauthenticateView if the last authentication is not recent, or below `level`, and
    returns. Without `level`, a user with a second factor needs it. api.step_up has the same rule for the API.
    """

    # 1, 2, or None for the level that the account has.
    level: int | None = None
    # None: REAUTHENTICATION_TIMEOUT.
    within: timedelta | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        sign_in: SignIn | None = request.session.sign_in  # type: ignore[attr-defined]
        if sign_in and not requirements.is_recent(sign_in.user, sign_in, self.level, self.within):
            return redirect_to_login(request.get_full_path(), reverse("confirm"))
        return super().dispatch(request, *args, **kwargs)


@method_decorator(sensitive_post_parameters("password"), name="dispatch")
class ReauthenticateView(LoginRequiredMixin, RedirectURLMixin, FormView):
    """Asks for the password again, and redirects to `next`."""

    request: SignedInRequest
    form_class = forms.ReauthenticationForm
    template_name = "accounts/confirm.html"
    next_page = "home"

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"request": self.request}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"next": self.get_redirect_url()}

    def form_valid(self, form: forms.ReauthenticationForm) -> HttpResponse:
        self.request.session.mark_reauthenticated()
        return super().form_valid(form)
