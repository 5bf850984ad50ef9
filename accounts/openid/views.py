"""Pages of sign-in by others: to the provider and back; sign up, connect, confirm, disconnect."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import RedirectURLMixin, redirect_to_login
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import FormView, TemplateView, View

from accounts import connections, quotas, rate_limits
from accounts.factors import requirements
from accounts.forms import ConnectedSignUpForm
from accounts.http import request_context
from accounts.models import (
    AccountChanged,
    AttemptCounter,
    ConnectedAccount,
    Identity,
    Method,
    SecurityEvent,
    SignInRefused,
    User,
)
from accounts.openid import exchange
from accounts.openid.exchange import Cause, ExchangeFailed, State
from accounts.sessions import BrowserRequest, SignedInRequest
from accounts.views.second_step import offer_passkey, sign_in
from accounts.views.sign_in import ReauthenticationRequiredMixin, sid_of

# Key of the session: the identity that signs up, and the page to go to afterwards.
SIGN_UP = "openid_sign_up"
PURPOSES = SIGN_IN, CONNECT, CONFIRM = "sign_in", "connect", "confirm"
STATUS_OF = {
    Cause.EXPIRED: HTTPStatus.BAD_REQUEST,
    Cause.NOT_RECENT: HTTPStatus.FORBIDDEN,
    Cause.UNAVAILABLE: HTTPStatus.BAD_GATEWAY,
    # Mostly a code that a client made up or used twice. The log has the cause.
    Cause.INVALID: HTTPStatus.BAD_REQUEST,
}
# The page on which the user can start again.
PAGE_OF = {SIGN_IN: "login", CONNECT: "security", CONFIRM: "confirm"}


def name_of(provider_id: str) -> str:
    """Returns the name of a provider. Raises Http404."""
    if provider_id not in settings.OPENID_PROVIDERS:
        raise Http404
    return str(settings.OPENID_PROVIDERS[provider_id]["name"])


def refuse(request: HttpRequest, status: int, provider_id: str, text: str, page: str = "login") -> HttpResponse:
    """A page that says why there was no sign-in, with a link to the page to start again."""
    context = {"provider": name_of(provider_id), "text": text, "page": reverse(page)}
    return render(request, "accounts/openid_failed.html", context, status=status)


def _fail(request: HttpRequest, provider_id: str, cause: Cause, state: State | None) -> HttpResponse:
    page = PAGE_OF[state.purpose] if state else "login"
    name = name_of(provider_id)
    if cause == Cause.CANCELLED:
        messages.info(request, _("You cancelled at %(provider)s. Nothing was changed.") % {"provider": name})
        return redirect_to_login(state.next, reverse(page)) if state and state.next else redirect(page)
    texts = {
        Cause.EXPIRED: _("It took too long, or it was started in another browser or tab. Start again."),
        Cause.NOT_RECENT: _("%(provider)s did not ask you to sign in again, so your identity is not confirmed."),
        Cause.UNAVAILABLE: _("%(provider)s does not answer at the moment. Try again later, or sign in another way."),
        Cause.INVALID: _("%(provider)s gave an answer that cannot be used. Try again, or sign in another way."),
    }
    return refuse(request, STATUS_OF[cause], provider_id, texts[cause] % {"provider": name}, page)


@method_decorator(sensitive_post_parameters(), name="dispatch")
class StartView(RedirectURLMixin, View):
    """Sends the browser to a provider. By a page, since a redirect would need an exception of form-action (CSP)."""

    request: BrowserRequest
    http_method_names = ["post", "options"]
    in_support = False
    purpose: str

    def post(self, request: BrowserRequest, provider_id: str) -> HttpResponse:
        name = name_of(provider_id)
        try:
            AttemptCounter.objects.consume_quota(quotas.exchanges(request_context.ip_address()))
        except rate_limits.TooManyAttempts as error:
            response = refuse(request, HTTPStatus.TOO_MANY_REQUESTS, provider_id, error.messages[0])
            response["Retry-After"] = str(error.seconds)
            return response
        sid = str(sid_of(request) or "")
        try:
            url = exchange.start(
                request,
                provider_id,
                self.purpose,
                is_new_sign_in=self.purpose == CONFIRM,
                next=self.get_redirect_url(),
                keep="keep" in request.POST,
                sid=sid,
            )
        except ExchangeFailed as error:
            return _fail(request, provider_id, error.cause, None)
        if not sid:
            request.session.set_expiry(exchange.MAX_AGE)
        return render(request, "accounts/openid_leave.html", {"url": url, "provider": name})


class SignInView(StartView):
    purpose = SIGN_IN


class ConnectView(ReauthenticationRequiredMixin, StartView):
    purpose = CONNECT


class ConfirmView(LoginRequiredMixin, StartView):
    purpose = CONFIRM
    # Also for a session whose device did not prove its key (api.dbsc).
    accepts_unproved = True


class CallbackView(View):
    """The provider sends the browser back to it."""

    request: BrowserRequest
    # HEAD would use up the code.
    http_method_names = ["get", "options"]
    in_support = False
    # To confirm who the user is. What matters more, connect(), refuses such a session.
    accepts_unproved = True

    def get(self, request: BrowserRequest, provider_id: str) -> HttpResponseBase:
        try:
            identity, state = exchange.finish(request, provider_id)
        except ExchangeFailed as error:
            return _fail(request, provider_id, error.cause, error.state)
        if state.purpose == SIGN_IN:
            return self.sign_in(identity, state)
        if not state.sid or state.sid != str(sid_of(request) or ""):
            # Started in another sign-in of this browser.
            return _fail(request, provider_id, Cause.EXPIRED, state)
        return self.connect(identity) if state.purpose == CONNECT else self.confirm(identity, state)

    def sign_in(self, identity: Identity, state: State) -> HttpResponse:
        """Signs in by a connected account; without one, goes on to the sign-up."""
        account: ConnectedAccount | None = ConnectedAccount.objects.get_by_identity(identity)
        if account is None:
            return self.begin_sign_up(identity, state)
        user = account.user
        user.proved, user.proved_at = (Method.OPENID,), identity.authenticated_at
        account.mark_used()
        try:
            response = sign_in(self.request, user, state.next or resolve_url("home"), keep=state.keep)
        except SignInRefused:
            SecurityEvent.objects.record(SecurityEvent.Type.SIGN_IN_FAILED, user, provider=identity.provider)
            return refuse(self.request, HTTPStatus.FORBIDDEN, identity.provider, _("This account cannot sign in."))
        if self.request.user.is_authenticated:
            offer_passkey(self.request, response, user, has_passkey=False)
        return response

    def begin_sign_up(self, identity: Identity, state: State) -> HttpResponse:
        """
        Goes on to the sign-up page. An equal address is no proof that the account is the user's: it is never connected
        by that.
        """
        identity = _with_valid_address(identity)
        if identity.is_verified and User.objects.with_login(identity.email).exists():
            text = _(
                "An account with the e-mail address %(address)s exists. Sign in to it, and then connect your account "
                "of %(provider)s on the security page."
            )
            values = {"address": identity.email, "provider": name_of(identity.provider)}
            messages.warning(self.request, text % values)
            return redirect_to_login(reverse("security"))
        authenticated_at = identity.authenticated_at and identity.authenticated_at.timestamp()
        stored = identity._replace(authenticated_at=None)._asdict()
        self.request.session[SIGN_UP] = stored | {"at": authenticated_at, "next": state.next}
        return redirect("openid_sign_up")

    def connect(self, identity: Identity) -> HttpResponse:
        """Connects the account with the user of the sign-in in which it was started."""
        user, sign_in = self.request.user.with_all_fields(), self.request.session.sign_in  # type: ignore[union-attr]
        if not sign_in or self.request.session.is_unproved or not requirements.is_recent(user, sign_in):
            return redirect_to_login(reverse("security"), reverse("confirm"))
        try:
            account = connections.connect(user, identity)
        except AccountChanged:
            return redirect("login")
        except connections.ConnectionRefused as error:
            messages.error(self.request, error.message)
        else:
            messages.success(self.request, _("Connected: %(name)s.") % {"name": account.provider_name})
        return redirect("security")

    def confirm(self, identity: Identity, state: State) -> HttpResponse:
        """Records that the user has signed in again at the provider."""
        user = self.request.user.with_all_fields()  # type: ignore[union-attr]
        account: ConnectedAccount | None = ConnectedAccount.objects.get_by_identity(identity)
        if account is None or account.user_id != user.pk or Method.OPENID not in requirements.methods_of(user):
            text = _("This account of %(provider)s is not connected with yours.")
            values = {"provider": name_of(identity.provider)}
            return refuse(self.request, HTTPStatus.FORBIDDEN, identity.provider, text % values, "confirm")
        if not exchange.is_new_sign_in(identity, state):
            return _fail(self.request, identity.provider, Cause.NOT_RECENT, state)
        SecurityEvent.objects.record_reauthentication(user, Method.OPENID)
        self.request.session.mark_reauthenticated(Method.OPENID)
        return redirect(state.next or "home")


def _with_valid_address(identity: Identity) -> Identity:
    """The identity without an address that an account cannot have."""
    try:
        User._meta.get_field("email").run_validators(identity.email)
    except ValidationError:
        return identity._replace(email="", is_verified=False)
    return identity


class SignUpView(RedirectURLMixin, FormView):
    """Creates an account for the identity that was just proved. It has no password."""

    request: BrowserRequest
    form_class = ConnectedSignUpForm
    template_name = "accounts/openid_sign_up.html"
    next_page = "home"
    in_support = False

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        stored: dict[str, Any] = dict(request.session.get(SIGN_UP) or {})
        if not stored:
            return redirect("signup")
        self.next, at = stored.pop("next"), stored.pop("at")
        authenticated_at = datetime.fromtimestamp(at, UTC) if at else None
        self.identity = Identity(**stored)._replace(authenticated_at=authenticated_at)
        return super().dispatch(request, *args, **kwargs)

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"identity": self.identity}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"provider": name_of(self.identity.provider)}

    def form_valid(self, form: ConnectedSignUpForm) -> HttpResponse:
        try:
            user = form.save()
        except ValidationError as error:
            form.add_error(None, error)
            return self.form_invalid(form)
        del self.request.session[SIGN_UP]
        response = sign_in(self.request, user, self.next or self.get_success_url())
        if self.request.user.is_authenticated:
            messages.success(self.request, _("Welcome, %(name)s.") % {"name": user.username})
        return response


class DisconnectView(ReauthenticationRequiredMixin, TemplateView):
    """Disconnects an account, and ends all other sign-ins."""

    request: SignedInRequest
    template_name = "accounts/openid_disconnect.html"
    in_support = False

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        account = ConnectedAccount.objects.of(self.request.user).filter(pk=self.kwargs["pk"]).first()
        if account is None:
            raise Http404
        user = self.request.user.with_all_fields()
        is_last = connections.is_last_way_in(user, account)
        return super().get_context_data(**kwargs) | {"account": account, "is_last": is_last}

    def post(self, request: SignedInRequest, pk: UUID) -> HttpResponse:
        try:
            connections.disconnect(request.user, pk, keep=request.session.sign_in)
        except AccountChanged:
            return redirect("login")
        except connections.ConnectionRefused as error:
            messages.error(request, error.message)
        else:
            messages.success(request, _("Disconnected. You are signed out everywhere else."))
        return redirect("security")
