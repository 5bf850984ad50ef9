"""Middleware of bound sessions: it asks browsers for a key, and for a proof where one is missing."""

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, resolve_url

from accounts.http.layers import TwoWayLayer
from accounts.sessions import DeviceProofRequired
from api import metrics
from api.dbsc import binding, challenges, cookies, demands
from api.dbsc.sessions import SessionStore

REGISTRATION_PATH = "/dbsc/registration/"
REFRESH_PATH = "/dbsc/refresh/"
REFUSED = {
    "detail": "This browser did not prove that it is the one that signed in. Confirm who you are.",
    "code": "device_proof_required",
}
# Pages for users who are not signed in: with a refused session, they are those of an anonymous user.
OPEN_PAGES = {
    "login",
    "login_options",
    "signup",
    "second_step",
    "second_step_options",
    "enrol",
    "openid_sign_up",
    "enrol_options",
    "enrol_app",
    "start_enrol_app",
    "password_reset",
    "password_reset_done",
    "password_reset_confirm",
    "password_reset_complete",
    "logout",
}


class BoundRequest(HttpRequest):
    """For type checkers: a request after SessionMiddleware."""

    session: SessionStore


class DeviceMiddleware(TwoWayLayer):
    """
    After SessionMiddleware. Bound sessions need it: without it none is accepted. A session whose device did not prove
    its key is anonymous to the view, and the response is then replaced: the browser has another chance to prove it.
    """

    def process_request(self, request: BoundRequest) -> None:
        if not binding.is_on():
            return
        request.session.bound_cookie = request.COOKIES.get(settings.BOUND_COOKIE_NAME, "")
        if reason := binding.skip_reason(request):
            metrics.device_proofs_skipped.labels(reason).inc()

    def process_view(
        self, request: BoundRequest, view: Callable[..., HttpResponse], args: object, kwargs: object
    ) -> None:
        request.session.is_admitted = getattr(getattr(view, "view_class", view), "accepts_unproved", False)

    def process_exception(self, request: BoundRequest, exception: Exception) -> HttpResponse | None:
        sign_in = request.session.loaded_sign_in
        if isinstance(exception, DeviceProofRequired) and sign_in:
            return demands.redirect(request, sign_in.sid)
        return None

    def process_response(self, request: BoundRequest, response: HttpResponse) -> HttpResponse:
        session = request.session
        if not binding.is_on() or response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return response
        if session.unproved_sign_in:
            return _ask_for_proof(request, response)
        if session.is_newly_proved:
            _offer_binding(request, response)
        elif session.session_key is None and session.bound_cookie:
            cookies.delete_from(response)
        return response


def _ask_for_proof(request: BoundRequest, response: HttpResponse) -> HttpResponse:
    """The response for a session that was refused."""
    if request.path_info.startswith("/api/"):
        if response.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            refusal = JsonResponse(REFUSED, status=401, headers={"WWW-Authenticate": 'Session realm="api"'})
            refusal.refusal_code = REFUSED["code"]  # type: ignore[attr-defined]
            response = refusal
            # A cookie that is not valid keeps the browser from a proof.
            cookies.delete_from(response)
        return response
    name = request.resolver_match.url_name if request.resolver_match else ""
    is_page = request.method == "GET" and name not in OPEN_PAGES
    if not is_page and not _asks_to_sign_in(response):
        return response
    page = request.get_full_path() if request.method in ("GET", "HEAD") else request.path
    again = redirect(f"{resolve_url('this_browser')}?{urlencode({REDIRECT_FIELD_NAME: page})}")
    cookies.delete_from(again)
    return again


def _asks_to_sign_in(response: HttpResponse) -> bool:
    path = urlsplit(response.get("Location", "")).path
    return response.status_code == HTTPStatus.FORBIDDEN or path in (
        resolve_url(settings.LOGIN_URL),
        resolve_url("admin:login"),
    )


def _offer_binding(request: BoundRequest, response: HttpResponse) -> None:
    """Asks the browser to register a key, over HTTPS only. The signature of the challenge names the sign-in."""
    sign_in = request.session.loaded_sign_in
    if sign_in is None or sign_in.key_thumbprint or not request.is_secure() or not binding.is_offered_to(sign_in.user):
        return
    challenge = challenges.to_register(sign_in)
    response["Secure-Session-Registration"] = (
        f'({" ".join(binding.ALGORITHMS)});path="{REGISTRATION_PATH}";challenge="{challenge}"'
    )
