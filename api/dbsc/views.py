"""The endpoints that browsers call by themselves (DBSC), and the page for a browser that did not prove its key."""

import re
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import RedirectURLMixin, redirect_to_login
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import View

from accounts.http import cross_site
from accounts.models import SignIn
from api.dbsc import binding, challenges, cookies
from api.dbsc.middleware import REFRESH_PATH, BoundRequest

# RFC 9651, section 3.3.3, without escapes: no value of this protocol has one. Parameters are ignored.
STRING = re.compile(r'"([\x20\x21\x23-\x5b\x5d-\x7e]*)"(?:;.*)?')


def string_in(request: HttpRequest, header: str) -> str:
    """The string of a structured field, also without quotation marks; empty if there is none."""
    text = request.headers.get(header, "").strip()
    found = STRING.fullmatch(text)
    return found.group(1) if found else text


class BindingEndpoint(View):
    """
    The base of both endpoints. Forms of other sites lack the session cookie (SameSite) and the headers. Neither is in
    CORS_URLS_REGEX. A 4xx, except 403, makes the browser delete its binding: while the database is away it is a 503.
    """

    http_method_names = ["post"]
    accepts_unproved = True
    in_support = True

    @method_decorator(csrf_exempt)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return super().dispatch(request, *args, **kwargs)

    def refuse(self, code: str, detail: str, status: int = HTTPStatus.BAD_REQUEST) -> HttpResponse:
        response = JsonResponse({"detail": detail, "code": code}, status=status)
        response.refusal_code = code  # type: ignore[attr-defined]
        if status == HTTPStatus.UNAUTHORIZED:
            response["WWW-Authenticate"] = 'Session realm="dbsc"'
        return response

    def refuse_proof(self, sign_in: SignIn, refusal: binding.ProofRefused) -> HttpResponse:
        binding.record_failure(sign_in, refusal.cause)
        return self.refuse("invalid_device_proof", "The proof is not valid.")

    def accept(self, sign_in: SignIn) -> HttpResponse:
        """The instructions of the session, and its bound cookie."""
        response = JsonResponse(instructions(sign_in))
        cookies.set_on(response, sign_in.sid, sign_in.key_thumbprint)
        return response


class RegistrationView(BindingEndpoint):
    """Binds the session to the key of the browser. Three statements."""

    def post(self, request: BoundRequest) -> HttpResponse:
        proof = string_in(request, "Secure-Session-Response")
        if not proof:
            return self.refuse("no_device_proof", "The request has no Secure-Session-Response.", HTTPStatus.FORBIDDEN)
        sign_in = binding.live_sign_in(request.session) if binding.is_on() else None
        if sign_in is None:
            return self.refuse("no_session", "There is no session to bind.", HTTPStatus.UNAUTHORIZED)
        try:
            binding.register(sign_in, proof)
        except binding.ProofRefused as refusal:
            return self.refuse_proof(sign_in, refusal)
        except challenges.NotAccepted:
            return self.refuse("invalid_challenge", "The challenge is not valid for this session.")
        return self.accept(sign_in)


class RefreshView(BindingEndpoint):
    """
    Answers 403 with a challenge, and then its proof with a new bound cookie. It records no use: idle sessions expire.
    One statement, and two more for a proof.
    """

    def post(self, request: BoundRequest) -> HttpResponse:
        # Scripts cannot send this header.
        key_thumbprint = string_in(request, "Sec-Secure-Session-Id")
        if not key_thumbprint:
            return self.refuse("no_session_id", "The request has no Sec-Secure-Session-Id.", HTTPStatus.FORBIDDEN)
        if not binding.is_on():
            return JsonResponse({"continue": False})
        sign_in = binding.live_sign_in(request.session)
        if sign_in is None or sign_in.key_thumbprint != key_thumbprint:
            return self.refuse("not_bound", "The session is not bound to this key.", HTTPStatus.UNAUTHORIZED)
        proof = string_in(request, "Secure-Session-Response")
        if not proof:
            return self.challenge(sign_in)
        try:
            binding.check_proof(sign_in, proof)
        except binding.ProofRefused as refusal:
            return self.refuse_proof(sign_in, refusal)
        except challenges.NotAccepted:
            return self.challenge(sign_in)
        return self.accept(sign_in)

    def challenge(self, sign_in: SignIn) -> HttpResponse:
        """The status 403 makes the browser sign the challenge at once."""
        response = self.refuse("device_proof_required", "Sign the challenge.", HTTPStatus.FORBIDDEN)
        response["Secure-Session-Challenge"] = f'"{challenges.to_refresh(sign_in)}";id="{sign_in.key_thumbprint}"'
        return response


def instructions(sign_in: SignIn) -> dict[str, Any]:
    """
    The JSON session instructions. The session is identified by its key, so that an answer for an earlier key cannot end
    the binding to a later one.
    """
    return {
        "session_identifier": sign_in.key_thumbprint,
        "refresh_url": REFRESH_PATH,
        "scope": {
            "include_site": False,
            "scope_specification": [
                {"type": "exclude", "domain": "*", "path": path} for path in ("/static/", "/health/")
            ],
        },
        "credentials": [{"type": "cookie", "name": settings.BOUND_COOKIE_NAME, "attributes": cookies.attributes()}],
        "allowed_refresh_initiators": [urlsplit(origin).hostname for origin in settings.APP_ORIGINS],
    }


class ThisBrowserView(RedirectURLMixin, View):
    """
    Where a request without the bound cookie is sent. The browser may prove its key on the way, and then goes on to
    `next`. Otherwise the user has to confirm who they are.
    """

    http_method_names = ["get", "head"]
    accepts_unproved = True
    next_page = "home"
    redirect_field_name = REDIRECT_FIELD_NAME

    def get(self, request: BoundRequest) -> HttpResponse:
        sign_in, page = request.session.sign_in, self.get_success_url()
        if sign_in is None or not request.session.is_unproved:
            return redirect(page)
        if cross_site.is_cross_site(request):
            # Browsers prove no key for the links of other sites. This page sends the next request itself.
            return render(request, "accounts/this_browser.html", {"again": request.get_full_path()})
        binding.record_failure(sign_in, "no_proof", binding.skip_reason(request))
        messages.warning(request, _("This browser could not prove that it is the one that signed in."))
        return redirect_to_login(page, reverse("confirm"))
