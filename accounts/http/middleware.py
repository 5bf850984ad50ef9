"""Who asks, from where, and what may be kept of the answer."""

import logging
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from itertools import chain
from ssl import SSLSocket

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import middleware as auth
from django.core.exceptions import BadRequest, ObjectDoesNotExist
from django.core.handlers.asgi import ASGIRequest
from django.db import IntegrityError
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.middleware import common
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import get_callable
from django.utils.deprecation import MiddlewareMixin
from django.utils.functional import SimpleLazyObject

from accounts import addresses, known_browsers, rate_limits
from accounts.http import cross_site, headers, hosts, landing, request_context
from accounts.models import User
from accounts.sessions import BrowserRequest, signed_in_user

logger = logging.getLogger(__name__)

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")


class TrustedProxyMiddleware(MiddlewareMixin):
    """
    REMOTE_ADDR becomes the client's address, in its canonical form, and empty if there is none. Only proxies in
    TRUSTED_PROXIES may say who the client is and that it came by HTTPS; the same of others is dropped.
    """

    FORWARDED = (
        "HTTP_X_FORWARDED_FOR",
        "HTTP_X_FORWARDED_PROTO",
        "HTTP_X_FORWARDED_HOST",
        "HTTP_FORWARDED",
        "HTTP_X_REQUEST_ID",
    )
    # What application servers take for HTTPS, by default from any process on the same machine (gunicorn, uvicorn).
    HTTPS_CLAIMS = {
        "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_X_FORWARDED_PROTOCOL": "ssl",
        "HTTP_X_FORWARDED_SSL": "on",
    }

    def process_request(self, request: HttpRequest) -> None:
        meta = request.META
        peer = addresses.canonical(meta.get("REMOTE_ADDR", "")) or ""
        meta["REMOTE_ADDR"] = peer
        if self._claims_https(request):
            _set_scheme(request, "http")
        if not addresses.is_within(peer, settings.TRUSTED_PROXIES):
            for header in self.FORWARDED:
                meta.pop(header, None)
            return
        if proto := meta.get("HTTP_X_FORWARDED_PROTO"):
            meta["HTTP_X_FORWARDED_PROTO"] = proto.lower()
        if (hops := meta.get("HTTP_X_FORWARDED_FOR")) is not None:
            meta["REMOTE_ADDR"] = addresses.last_untrusted(hops, peer, settings.TRUSTED_PROXIES) or ""

    def _claims_https(self, request: HttpRequest) -> bool:
        """Whether the server's word for the scheme is only a header's. A trusted proxy's header is read by Django."""
        claims = (claim in request.META.get(name, "").lower() for name, claim in self.HTTPS_CLAIMS.items())
        return any(claims) and not _ends_tls(request)


def _ends_tls(request: HttpRequest) -> bool:
    """Whether the application server itself speaks TLS, as far as it says so."""
    scope = getattr(request, "scope", {})
    return isinstance(request.META.get("gunicorn.socket"), SSLSocket) or "tls" in scope.get("extensions", {})


def _set_scheme(request: HttpRequest, scheme: str) -> None:
    if isinstance(request, ASGIRequest):
        request.scope = {**request.scope, "scheme": scheme}
    else:
        request.META["wsgi.url_scheme"] = scheme


class HostMiddleware(MiddlewareMixin):
    """
    The Host header becomes canonical before it is compared (CSRF, CORS, DPoP) or put into links; Origin is, as browsers
    send it. After TrustedProxyMiddleware, which knows the scheme.
    """

    def process_request(self, request: HttpRequest) -> None:
        meta = request.META
        if meta.get("SCRIPT_NAME"):
            # The start cannot see the prefix that an ASGI server, mod_wsgi or a proxy's header adds.
            logger.warning("A request was refused since it came below a path (SCRIPT_NAME): use a host of its own")
            raise BadRequest("below a path")
        for header in ("HTTP_HOST", "HTTP_X_FORWARDED_HOST"):
            if header in meta:
                meta[header] = hosts.canonical(meta[header], request.scheme or "")


class CommonMiddleware(common.CommonMiddleware):
    """
    As Django's, but our own pages take three methods, and only what has no body is sent on to the address with the
    slash.
    """

    PAGES_TAKE = ("GET", "HEAD", "POST")
    # No view answers these, whoever wrote it.
    NEVER = ("TRACE", "CONNECT")
    OUR_PACKAGES = {"accounts", "api", "project", "django"}

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        # Load balancers ask an instance by its address, which no list of host names has.
        return None if request.path_info in settings.PROBE_PATHS else super().process_request(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: object, kwargs: object
    ) -> HttpResponse | None:
        # Forms of Django's take a PUT for a POST, and the admin's pages whatever comes for a GET. What is exempt from
        # CSRF is no page, and tells by itself what it takes.
        if request.method in self.PAGES_TAKE or getattr(view, "csrf_exempt", False):
            return None
        if request.method not in self.NEVER and not self._is_our_page(request, view):
            return None
        return HttpResponseNotAllowed(self.PAGES_TAKE)

    def _is_our_page(self, request: HttpRequest, view: Callable[..., HttpResponse]) -> bool:
        """Ours, Django's or the admin's; an adopter's view decides by itself which methods it takes."""
        if request.resolver_match and "admin" in request.resolver_match.app_names:
            return True
        module: str = getattr(getattr(view, "view_class", view), "__module__", "")
        return module.partition(".")[0] in self.OUR_PACKAGES

    def should_redirect_with_slash(self, request: HttpRequest) -> bool:
        return request.method in ("GET", "HEAD") and super().should_redirect_with_slash(request)


class LandingMiddleware(MiddlewareMixin):
    """After a sign-in, or whatever else leads back, a person lands on a page: never on an address for forms only."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        # The other redirects repeat the request as it was (307, 308), or correct its address (301).
        if response.status_code not in (HTTPStatus.FOUND, HTTPStatus.SEE_OTHER):
            return response
        path = landing.local_path(request, response["Location"])
        if page := path and landing.page_with_form(path):
            response["Location"] = page
        return response


class SecurityHeadersMiddleware(MiddlewareMixin):
    """What a page may load and do, and who may load it. A view that has said so itself is left alone."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        super().__init__(get_response)
        self.headers = {
            "Content-Security-Policy": headers.content_security_policy(),
            "Permissions-Policy": headers.permissions_policy(),
            "Cross-Origin-Resource-Policy": "same-origin",
        }

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if settings.DEBUG and response.status_code in (404, 500):
            # Django's pages for developers have their style inside.
            return response
        for name, value in self.headers.items():
            response.headers.setdefault(name, value)
        return response


class FetchMetadataMiddleware(MiddlewareMixin):
    """
    What rides on a cookie and changes something comes from a page of ours, or of CSRF_TRUSTED_ORIGINS. Browsers that do
    not say where it comes from, and what is no browser, are left to the CSRF token.
    """

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: object, kwargs: object
    ) -> HttpResponse | None:
        # The API is exempt: there a foreign page's cookie does not count (api.authentication), and tokens do.
        if request.method in SAFE_METHODS or getattr(view, "csrf_exempt", False):
            return None
        if not cross_site.is_cross_site(request) or cross_site.is_trusted(request.headers.get("Origin", "")):
            return None
        reason = f"from a foreign page: {cross_site.source_of(request)}"
        refusal: HttpResponse = get_callable(settings.CSRF_FAILURE_VIEW)(request, reason=reason)
        return refusal


class NoStoreMiddleware(MiddlewareMixin):
    """An answer is kept by nobody, unless its view says otherwise."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response.headers.setdefault("Cache-Control", "no-store")
        return response


asigned_in_user = sync_to_async(signed_in_user)


class AuthenticationMiddleware(auth.AuthenticationMiddleware):
    """As Django's, with the user that came with the session in one statement."""

    def process_request(self, request: BrowserRequest) -> None:
        super().process_request(request)
        request.user = SimpleLazyObject(lambda: signed_in_user(request))  # type: ignore[assignment]
        request.auser = partial(asigned_in_user, request)

    def process_exception(self, request: BrowserRequest, exception: Exception) -> HttpResponse | None:
        """If the account was deleted while the request ran, that is why a row is missing: the browser is signed out."""
        if not isinstance(exception, (ObjectDoesNotExist, IntegrityError)):
            return None
        sign_in = request.session.known_sign_in
        if sign_in is None or User.objects.filter(pk=sign_in.user_id).exists():
            return None
        return redirect(settings.LOGIN_URL)


class RequestContextMiddleware:
    """
    Lets sign-ins, security events and lines of the log say where their request came from, and gives the request's id
    back. After TrustedProxyMiddleware: nobody else is believed who says where, or which.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with request_context.use_request(request):
            response = self.get_response(request)
        response.headers["X-Request-ID"] = request_context.request_id(request)
        return response


class TooManyAttemptsMiddleware(MiddlewareMixin):
    """A form that was refused after too many guesses, the admin's too, is a 429; a browser that signed in is known."""

    def process_template_response(self, request: HttpRequest, response: TemplateResponse) -> TemplateResponse:
        form = (response.context_data or {}).get("form")
        if not isinstance(form, BaseForm):
            return response
        for error in chain.from_iterable(form.errors.as_data().values()):
            if isinstance(error, rate_limits.TooManyAttempts):
                response.status_code = HTTPStatus.TOO_MANY_REQUESTS
                response["Retry-After"] = str(error.seconds)
        return response

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if user := getattr(request, "known_user", None):
            known_browsers.set_cookie(request, response, user)
        return response
