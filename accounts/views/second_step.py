"""Pages of a sign-in in two steps, and the base of the pages that ask for a proof."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.contrib.auth.views import RedirectURLMixin, redirect_to_login
from django.core.exceptions import ValidationError
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import TemplateView, View

from accounts import passkey_offer, sessions
from accounts.factors import forms, passkeys, requirements, second_step
from accounts.factors.errors import StepNotValid
from accounts.factors.second_step import Purpose, Step
from accounts.models import Method, SecondFactorMissing, SecondStepRequired, SignIn, SignInRefused, User
from accounts.sessions import STEP, BrowserRequest

FORMS: Mapping[str, type[forms.ProofForm]] = {
    Method.PASSKEY: forms.PasskeyForm,
    Method.TOTP: forms.AppCodeForm,
    Method.RECOVERY_CODE: forms.RecoveryCodeForm,
}


def sign_in(request: BrowserRequest, user: User, redirect_to: str, *, keep: bool = False) -> HttpResponse:
    """
    Signs in a user with the methods in User.proved, and redirects. If a second factor is needed, begins the second step
    and redirects to its page instead. `keep`: the session lasts after the browser is closed. Raises SignInRefused.
    """
    try:
        sessions.sign_in(request, user, remember=keep)
    except SecondStepRequired:
        return _begin(request, user, Purpose.SIGN_IN, redirect_to, keep)
    except SecondFactorMissing:
        return _begin(request, user, Purpose.ENROL, redirect_to, keep)
    return redirect(redirect_to)


def offer_passkey(request: BrowserRequest, response: HttpResponse, user: User, has_passkey: bool) -> None:
    """Opens the offer to add a passkey in the response to a finished sign-in, or closes that of an earlier one."""
    if not has_passkey and requirements.can_add(user):
        passkey_offer.open_unless_declined(request, response)
    else:
        passkey_offer.close(request, response)


def _begin(request: BrowserRequest, user: User, purpose: Purpose, redirect_to: str, keep: bool) -> HttpResponse:
    """login() has flushed the session: it has the step only, and no user."""
    request.session[STEP], _challenge = second_step.begin(purpose, user, kind=SignIn.Kind.BROWSER, keep=keep)
    request.session.set_expiry(second_step.MAX_AGE)
    query = QueryDict(mutable=True)
    query["next"] = redirect_to
    page = reverse("second_step" if purpose == Purpose.SIGN_IN else "enrol")
    return redirect(f"{page}?{query.urlencode(safe='/')}")


class StepMixin(RedirectURLMixin):
    """For pages of a sign-in that is not finished: the step of the session is `self.step`."""

    request: BrowserRequest
    purpose: Purpose
    next_page = "home"
    step: Step

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            return redirect(self.get_success_url())
        try:
            self.step = self.read_step()
        except StepNotValid:
            return self.restart()
        return super().dispatch(request, *args, **kwargs)  # type: ignore[misc]

    def read_step(self) -> Step:
        """Returns the step of the session, with its user. Raises StepNotValid."""
        return second_step.read(self.request.session.get(STEP, ""), self.purpose, kind=SignIn.Kind.BROWSER)

    def restart(self) -> HttpResponseRedirect:
        """Redirects to the sign-in page after a step that is not valid."""
        if self.request.session.pop(STEP, None):
            messages.error(self.request, _("Your sign-in took too long, or your account was changed. Sign in again."))
        return redirect_to_login(self.get_success_url())

    def sign_in(self, user: User) -> HttpResponse:
        """Signs in a user whose second factor was just proved, and redirects."""
        try:
            return sign_in(self.request, user, self.get_success_url(), keep=self.step.extra["keep"])
        except SignInRefused:
            return self.restart()


class PasskeyOptionsView(View):
    """The options of a passkey for the script of a page, as JSON."""

    request: BrowserRequest

    def get(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse(self.get_options())

    def get_options(self) -> passkeys.Json:
        raise NotImplementedError


@method_decorator(sensitive_post_parameters(), name="dispatch")
class ProofView(RedirectURLMixin, TemplateView):
    """A page on which the user proves one of several methods, each by a form of its own."""

    request: BrowserRequest
    next_page = "home"

    def get_methods(self) -> list[str]:
        """Returns the methods that the page accepts, the strongest first."""
        raise NotImplementedError

    def prove(self, form: Any) -> HttpResponse:
        """Verifies the proof of a valid form, and returns the response. Raises ValidationError."""
        raise NotImplementedError

    def make_form(self, method: str, data: QueryDict | None = None, has_focus: bool = False) -> Form:
        return FORMS[method](data, has_focus=has_focus)

    def get_context_data(self, form: Any = None, **kwargs: Any) -> dict[str, Any]:
        proofs = {method: self.make_form(method) for method in self.methods}
        if form is not None:
            proofs[form.method] = form
        elif self.methods and Method.PASSKEY not in self.methods:
            proofs[self.methods[0]] = self.make_form(self.methods[0], has_focus=True)
        return super().get_context_data(**kwargs) | {"proofs": proofs, "form": form, "next": self.get_redirect_url()}

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.methods = self.get_methods()
        return super().dispatch(request, *args, **kwargs)

    def post(self, request: HttpRequest) -> HttpResponse:
        form: Any = self.posted_form()
        if form is None:
            return self.render_to_response(self.get_context_data())
        try:
            if form.is_valid():
                return self.prove(form)
        except ValidationError as error:
            form.add_error(None if form.method == Method.PASSKEY else form.field_name, error)
        return self.render_to_response(self.get_context_data(form=form))

    def posted_form(self) -> Form | None:
        """The form of the method whose field was posted; None if no such method is accepted."""
        for method in self.methods:
            form: Any = self.make_form(method, self.request.POST, has_focus=True)
            if form.field_name in self.request.POST:
                return form
        return None


class SecondStepView(StepMixin, ProofView):  # type: ignore[misc]
    """Asks for a second factor after the right password."""

    purpose = Purpose.SIGN_IN
    template_name = "accounts/second_step.html"

    def get_methods(self) -> list[str]:
        methods = requirements.methods_of(self.user)
        return [method for method in methods if method in FORMS]

    @property
    def user(self) -> User:
        return self.step.user  # type: ignore[return-value]

    def prove(self, form: forms.ProofForm) -> HttpResponse:
        proof = form.cleaned_data[form.field_name]
        try:
            if form.method == Method.PASSKEY:
                user = second_step.finish_with_passkey(self.step, proof)
            else:
                user = second_step.finish_with_code(self.step, form.method, proof)
        except StepNotValid:
            return self.restart()
        response = self.sign_in(user)
        if self.request.user.is_authenticated:
            offer_passkey(self.request, response, user, has_passkey=Method.PASSKEY in self.methods)
        return response


class SecondStepOptionsView(StepMixin, PasskeyOptionsView):  # type: ignore[misc]
    """The options of the passkeys of the user whose password was proved."""

    purpose = Purpose.SIGN_IN

    def get_options(self) -> passkeys.Json:
        return {"step": "", "publicKey": passkeys.request_options(self.step.challenge, self.step.user)}
