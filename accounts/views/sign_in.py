"""Pages to sign in, sign up, sign out and re-authenticate."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth import views as auth_views
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ValidationError
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import FormView, View

from accounts import forms
from accounts.factors import passkeys, requirements, second_step
from accounts.factors.errors import UnknownPasskey
from accounts.factors.forms import PasskeyForm
from accounts.factors.second_step import Purpose
from accounts.http.headers import CLEAR_SITE_DATA
from accounts.models import ConnectedAccount, Method, SignIn, SignInRefused
from accounts.sessions import BrowserRequest, SessionStore, SignedInRequest
from accounts.views.second_step import PasskeyOptionsView, ProofView, offer_passkey, sign_in


class SignInView(auth_views.LoginView):
    """The sign-in page: by password, or by a passkey alone."""

    request: BrowserRequest
    form_class = forms.SignInForm
    template_name = "accounts/login.html"

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        # A script has filled in this field.
        if request.POST.get("credential") and requirements.is_on():
            return self.sign_in_with_passkey()
        return super().post(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {
            # Django's view sets it to the host of the request.
            "site_name": settings.SITE_NAME,
            "has_passkeys": requirements.is_on(),
            "providers": settings.OPENID_PROVIDERS,
        }

    def form_valid(self, form: forms.SignInForm) -> HttpResponse:
        user = form.get_user()
        try:
            response = sign_in(self.request, user, self.get_success_url(), keep=form.cleaned_data["keep"])
        except SignInRefused:
            form.add_error(None, form.get_invalid_login_error())
            return self.form_invalid(form)
        if self.request.user.is_authenticated:
            # Signed in by the password alone: the account has no second factor.
            offer_passkey(self.request, response, user, has_passkey=False)
        return response

    def sign_in_with_passkey(self) -> HttpResponse:
        """Signs in by the passkey that the browser sent, or shows the page with an error."""
        form = PasskeyForm(self.request.POST)
        if not form.is_valid():
            return self.refuse_passkey(_("The passkey could not be read."), 400)
        credential = form.cleaned_data["credential"]
        try:
            step = second_step.read(form.cleaned_data["step"], Purpose.PASSKEY_SIGN_IN, kind=SignIn.Kind.BROWSER)
            user = second_step.sign_in_with_passkey(step, credential)
            response = sign_in(self.request, user, self.get_success_url(), keep="keep" in self.request.POST)
            offer_passkey(self.request, response, user, has_passkey=True)
            return response
        except UnknownPasskey as error:
            unknown = {"rpId": passkeys.rp_id(), "credentialId": credential["id"]}
            return self.refuse_passkey(error.message, 404, unknown=unknown)
        except ValidationError as error:
            return self.refuse_passkey(error.message, 400)
        except SignInRefused:
            return self.refuse_passkey(_("The passkey was refused."), 400)

    def refuse_passkey(self, text: Any, status: int, **signals: Any) -> HttpResponse:
        form = self.form_class(self.request)
        context = self.get_context_data(form=form, passkey_error=text, signals=signals)
        return self.render_to_response(context, status=status)


class SignInOptionsView(PasskeyOptionsView):
    """The options to sign in by a passkey of any account."""

    def get_options(self) -> passkeys.Json:
        if not requirements.is_on():
            raise Http404
        return second_step.options(Purpose.PASSKEY_SIGN_IN, kind=SignIn.Kind.BROWSER)


def sign_out_and_render(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    """Signs out, and renders a page in the same response. The browser clears its cached pages."""
    logout(request)
    response = render(request, template, context)
    response["Clear-Site-Data"] = CLEAR_SITE_DATA
    return response


class SignOutView(View):
    """Signs out. Accepts POST only."""

    http_method_names = ["post", "options"]
    in_support = True

    def post(self, request: HttpRequest) -> HttpResponse:
        return sign_out_and_render(request, "accounts/logged_out.html")


@method_decorator(sensitive_post_parameters("password1", "password2"), name="dispatch")
class SignUpView(FormView):
    """Creates an account and signs in."""

    request: BrowserRequest
    form_class = forms.SignUpForm
    template_name = "accounts/signup.html"
    success_url = reverse_lazy("home")
    extra_context = {"providers": settings.OPENID_PROVIDERS}

    def form_valid(self, form: forms.SignUpForm) -> HttpResponse:
        try:
            user = form.save()
        except ValidationError as error:
            form.add_error(None, error)
            return self.form_invalid(form)
        response = sign_in(self.request, user, self.get_success_url())
        if self.request.user.is_authenticated:
            messages.success(self.request, _("Welcome, %(name)s.") % {"name": user.username})
        return response


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
        session: SessionStore = request.session  # type: ignore[assignment]
        sign_in = session.sign_in
        if sign_in is None or (self.has_recent_proof(sign_in) and session.has_device_proof(request)):
            return super().dispatch(request, *args, **kwargs)
        if self.level == 2 and not requirements.has_second_factor(sign_in.user):
            messages.warning(request, _("This page needs a second factor. Add one first."))
            return redirect("security")
        return redirect_to_login(request.get_full_path(), reverse("confirm"))

    def has_recent_proof(self, sign_in: SignIn) -> bool:
        """Returns whether the page can be used without another proof. At most one statement."""
        return requirements.is_recent(sign_in.user, sign_in, self.level, self.within)


class SecondFactorRequiredMixin(ReauthenticationRequiredMixin):
    """
    For forms that contain the password: a recent proof is needed only for an account with a second factor, or without a
    password.
    """

    def has_recent_proof(self, sign_in: SignIn) -> bool:
        if super().has_recent_proof(sign_in):
            return True
        return requirements.level_of_account(sign_in.user) == 1 and requirements.has_password(sign_in.user)


class ReauthenticateView(LoginRequiredMixin, ProofView):
    """Asks for a proof at the level of the account, and redirects to `next`."""

    request: SignedInRequest
    template_name = "accounts/confirm.html"
    # Also for a session whose device did not prove its key (api.dbsc).
    accepts_unproved = True
    in_support = False

    def get_methods(self) -> list[str]:
        methods = requirements.methods_of(self.request.user)
        self.uses_provider = Method.OPENID in methods
        return [method for method in methods if method != Method.OPENID]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """With the providers of the user's connected accounts, if only they can confirm who the user is."""
        context = super().get_context_data(**kwargs)
        if not self.uses_provider:
            return context
        connected = set(ConnectedAccount.objects.of(self.request.user).values_list("provider", flat=True))
        return context | {"providers": {k: each for k, each in settings.OPENID_PROVIDERS.items() if k in connected}}

    def make_form(self, method: str, data: QueryDict | None = None, has_focus: bool = False) -> Form:
        if method == Method.PASSWORD:
            return forms.ReauthenticationForm(self.request, data)
        return super().make_form(method, data, has_focus)

    def prove(self, form: Any) -> HttpResponse:
        # The form has verified a password.
        if form.method != Method.PASSWORD:
            self.verify(form)
        self.request.session.mark_reauthenticated(form.method)
        return redirect(self.get_success_url())

    def verify(self, form: Any) -> None:
        user, proof = self.request.user.with_all_fields(), form.cleaned_data[form.field_name]
        if form.method == Method.PASSKEY:
            second_step.reauthenticate_with_passkey(user, sid_of(self.request), form.cleaned_data["step"], proof)
        else:
            second_step.check_code(user, form.method, proof, is_after_password=False)


class ReauthenticationOptionsView(LoginRequiredMixin, PasskeyOptionsView):
    """The options of the passkeys of the signed-in user."""

    request: SignedInRequest
    accepts_unproved = True
    in_support = False

    def get_options(self) -> passkeys.Json:
        user = self.request.user.with_all_fields()
        return second_step.options(Purpose.REAUTHENTICATE, user, sid=sid_of(self.request))


def sid_of(request: BrowserRequest) -> UUID | None:
    """Returns the sid of the session; None for an anonymous user."""
    sign_in = request.session.sign_in
    return sign_in.sid if sign_in else None
