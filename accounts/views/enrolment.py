"""Pages that add a second factor, for a signed-in user, or to finish the sign-in of a user who must have one."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import FormView, View

from accounts import passkey_offer
from accounts.factors import changes, passkeys, requirements, second_step, totp
from accounts.factors.errors import FactorRefused, StepNotValid
from accounts.factors.forms import ConfirmAppForm, FactorNameForm, NewPasskeyForm
from accounts.factors.second_step import Purpose
from accounts.models import AuthenticatorApp, Method, User
from accounts.sessions import SignedInRequest
from accounts.views.second_step import PasskeyOptionsView, StepMixin
from accounts.views.sign_in import ReauthenticationRequiredMixin, sid_of


class SignedInOwner(ReauthenticationRequiredMixin):
    """For pages that change the factors of the signed-in user, who is `self.owner`."""

    request: SignedInRequest

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not requirements.can_add(self.owner):
            return redirect("security")
        return super().dispatch(request, *args, **kwargs)

    @property
    def owner(self) -> User:
        return self.request.user.with_all_fields()

    def added(self, method: str, codes: list[str]) -> HttpResponse:
        """A factor that was just added was proved in this sign-in. Shows the recovery codes that are new."""
        self.request.session.mark_reauthenticated(method)
        if codes:
            response = render_codes(self.request, codes)
        else:
            messages.success(self.request, _("Added."))
            response = redirect_to_security()
        passkey_offer.close(self.request, response)
        return response


class EnrollingOwner(StepMixin):
    """For pages of a user who must have a second factor to sign in, who is `self.owner`."""

    purpose = Purpose.ENROL

    @property
    def owner(self) -> User:
        # One instance: changes of factors update its generation, which the sign-in compares.
        return self.step.user  # type: ignore[return-value]

    def added(self, method: str, codes: list[str]) -> HttpResponse:
        """Finishes the sign-in, and shows the recovery codes."""
        response = self.sign_in(second_step.finish_enrolment(self.step, self.owner, method))
        if codes and self.request.user.is_authenticated:
            return render_codes(self.request, codes, self.get_success_url())
        return response


def render_codes(request: HttpRequest, codes: list[str], next_url: str = "") -> HttpResponse:
    """The page of new recovery codes. They are in this response only."""
    context = {"codes": codes, "next": next_url or redirect_to_security()["Location"], "is_sign_in": bool(next_url)}
    return render(request, "accounts/recovery_codes.html", context)


def redirect_to_security() -> HttpResponse:
    """Redirects to the list of factors after a change, with the offer to end other sign-ins."""
    return redirect(f"{reverse('security')}?changed")


# Passkeys


class PasskeyPage(FormView):
    """Adds a passkey, which a script has created."""

    request: SignedInRequest
    form_class = NewPasskeyForm
    owner: User

    def added(self, method: str, codes: list[str]) -> HttpResponse:
        raise NotImplementedError

    def form_valid(self, form: NewPasskeyForm) -> HttpResponse:
        data = form.cleaned_data
        try:
            _passkey, codes = changes.add_passkey_by_step(
                self.owner, sid_of(self.request), data["step"], data["credential"], data["name"]
            )
        except (FactorRefused, StepNotValid) as error:
            form.add_error(None, error)
            return self.form_invalid(form)
        return self.added(Method.PASSKEY, codes)


class NewPasskeyView(SignedInOwner, PasskeyPage):  # type: ignore[misc]
    template_name = "accounts/passkey_new.html"


class EnrolView(EnrollingOwner, PasskeyPage):  # type: ignore[misc]
    """The page of a user who must have a second factor and has none. It can add a passkey, and links to the app."""

    template_name = "accounts/enrol.html"


class NewPasskeyOptionsMixin(PasskeyOptionsView):
    owner: User

    def get_options(self) -> passkeys.Json:
        is_conditional = "conditional" in self.request.GET
        return changes.passkey_options(self.owner, sid_of(self.request), is_conditional=is_conditional)


class NewPasskeyOptionsView(SignedInOwner, NewPasskeyOptionsMixin):  # type: ignore[misc]
    """The options to create a passkey of the signed-in user."""


class EnrolOptionsView(EnrollingOwner, NewPasskeyOptionsMixin):  # type: ignore[misc]
    """The options to create the passkey that the sign-in needs."""


# Authenticator apps


@method_decorator(sensitive_post_parameters(), name="dispatch")
class AppPage(FormView):
    """Shows the secret of a new authenticator app, and confirms the app by its first code."""

    form_class = ConfirmAppForm
    template_name = "accounts/app_new.html"
    owner: User
    start_page: str

    def added(self, method: str, codes: list[str]) -> HttpResponse:
        raise NotImplementedError

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.app = changes.unconfirmed_app(self.owner)
        if self.app is None or not (secret := totp.secret_of(self.app)):
            return redirect(self.start_page)
        self.secret = secret
        return super().dispatch(request, *args, **kwargs)

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"has_focus": True}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        uri = totp.uri(self.owner, self.secret)
        # totp.qr_svg() returns markup that does not contain the text.
        qr_code = mark_safe(totp.qr_svg(uri))  # noqa: S308
        shown = {"qr_code": qr_code, "secret": totp.shown_secret(self.secret), "uri": uri}
        return super().get_context_data(**kwargs) | shown | {"start_page": reverse(self.start_page)}

    def form_valid(self, form: ConfirmAppForm) -> HttpResponse:
        try:
            codes = changes.confirm_app(self.owner, self.app.pk, form.cleaned_data["code"])  # type: ignore[union-attr]
        except FactorRefused as error:
            form.add_error("code", error)
            return self.form_invalid(form)
        except AuthenticatorApp.DoesNotExist:
            return redirect(self.start_page)
        return self.added(Method.TOTP, codes)


class AppView(SignedInOwner, AppPage):  # type: ignore[misc]
    start_page = "security"


class EnrolAppView(EnrollingOwner, AppPage):  # type: ignore[misc]
    start_page = "enrol"


class StartAppView(SignedInOwner, View):  # type: ignore[misc]
    """Makes the secret of a new app."""

    def post(self, request: SignedInRequest) -> HttpResponse:
        form = FactorNameForm(request.POST)
        name = form.cleaned_data["name"] if form.is_valid() else ""
        try:
            changes.new_app(self.owner, name)
        except FactorRefused as error:
            messages.error(request, error.message)
            return redirect("security")
        return redirect("app")


class StartEnrolAppView(EnrollingOwner, View):  # type: ignore[misc]
    """Makes the secret of the app that the sign-in needs."""

    def post(self, request: HttpRequest) -> HttpResponse:
        changes.new_app(self.owner)
        return redirect(f"{reverse('enrol_app')}?{request.GET.urlencode(safe='/')}")
