"""Middleware: client address, host, HTTPS, methods, headers, Fetch Metadata, user, rate-limited forms."""

import logging
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from itertools import chain
from ssl import SSLSocket

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import middleware as auth
from django.contrib.sessions import middleware as sessions
from django.core.exceptions import BadRequest, ObjectDoesNotExist
from django.core.handlers.asgi import ASGIRequest
from django.db import IntegrityError
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.middleware import common, security
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import get_callable
from django.utils.functional import SimpleLazyObject

from accounts import addresses, known_browsers, rate_limits, refusals
from accounts.http import cross_site, headers, hosts, post_only, request_context
from accounts.http.layers import Layer, RequestLayer, ResponseLayer, TwoWayLayer
from accounts.models import User
from accounts.sessions import BrowserRequest, signed_in_user

logger = logging.getLogger(__name__)

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
# How many peers that are no trusted proxies, and send its headers, are logged by a process.
MAX_LOGGED_PEERS = 5
_logged_peers: set[str] = set()


class TrustedProxyMiddleware(RequestLayer):
    """
    Sets REMOTE_ADDR to the client's address in canonical form, or to "" if there is none. The headers with the client's
    address and scheme are used if they come from TRUSTED_PROXIES, and removed otherwise.
    """

    FORWARDED_HEADERS = (
        "HTTP_X_FORWARDED_FOR",
        "HTTP_X_FORWARDED_PROTO",
        "HTTP_X_FORWARDED_HOST",
        "HTTP_FORWARDED",
        "HTTP_X_REQUEST_ID",
        *(("HTTP_TRACEPARENT", "HTTP_TRACESTATE") if settings.TRACES_URL else ()),
    )
    # Application servers set the scheme by these headers, by default for any local process (gunicorn, uvicorn).
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
        trusted = settings.TRUSTED_PROXIES
        if not addresses.is_within(peer, trusted):
            if "HTTP_X_FORWARDED_PROTO" in meta:
                self._log_unknown_proxy(peer)
            for header in self.FORWARDED_HEADERS:
                meta.pop(header, None)
            return
        if proto := meta.get("HTTP_X_FORWARDED_PROTO"):
            meta["HTTP_X_FORWARDED_PROTO"] = proto.lower()
        if (hops := meta.get("HTTP_X_FORWARDED_FOR")) is not None:
            meta["REMOTE_ADDR"] = addresses.last_untrusted(hops, peer, trusted) or ""

    def _log_unknown_proxy(self, peer: str) -> None:
        """Logs each peer once: if it is a proxy, its pages are redirected for ever. Any client can send the header."""
        if peer in _logged_peers or len(_logged_peers) >= MAX_LOGGED_PEERS:
            return
        _logged_peers.add(peer)
        name = peer or "a peer without an address"
        logger.warning("X-Forwarded-Proto of %s is ignored, since TRUSTED_PROXIES does not contain this address", name)

    def _claims_https(self, request: HttpRequest) -> bool:
        """Whether the server took HTTPS from a header alone. Django reads the header of a trusted proxy by itself."""
        meta = request.META
        for name, claim in self.HTTPS_CLAIMS.items():
            if name in meta and claim in meta[name].lower():
                return not _terminates_tls(request)
        return False


def _terminates_tls(request: HttpRequest) -> bool:
    """Whether the application server terminates TLS, for servers that report it (gunicorn; ASGI TLS extension)."""
    scope = getattr(request, "scope", {})
    return isinstance(request.META.get("gunicorn.socket"), SSLSocket) or "tls" in scope.get("extensions", {})


def _set_scheme(request: HttpRequest, scheme: str) -> None:
    if isinstance(request, ASGIRequest):
        request.scope = {**request.scope, "scheme": scheme}
    else:
        request.META["wsgi.url_scheme"] = scheme


class HostMiddleware(RequestLayer):
    """
    Makes the Host header canonical before it is compared (CSRF, CORS, DPoP) or used in links. Refuses requests below a
    path with 400. Comes after TrustedProxyMiddleware, which sets the scheme.
    """

    def process_request(self, request: HttpRequest) -> None:
        meta = request.META
        if meta.get("SCRIPT_NAME"):
            # The check at the start cannot detect a prefix that an ASGI server, mod_wsgi or a proxy adds.
            logger.warning("Refused a request below a path (SCRIPT_NAME): serve the project at the root of a host")
            raise BadRequest("below a path")
        for header in ("HTTP_HOST", "HTTP_X_FORWARDED_HOST"):
            if header in meta:
                meta[header] = hosts.canonical(meta[header], request.scheme or "")


class HttpsRedirectMiddleware(RequestLayer, security.SecurityMiddleware):
    """The redirect of Django's SecurityMiddleware to HTTPS. SecurityHeadersMiddleware sets the headers."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        # Django checks the scheme first, which takes longer.
        path = request.path.lstrip("/")
        if any(exempt.search(path) for exempt in self.redirect_exempt):
            return None
        return super().process_request(request)


class CommonMiddleware(TwoWayLayer, common.CommonMiddleware):
    """
    As Django's, with three differences: pages of the project accept PAGE_METHODS only, only GET and HEAD are redirected
    to the URL with a final slash, and an allowed host is remembered.
    """

    PAGE_METHODS = ("GET", "HEAD", "POST")
    # Refused for all views, those of other apps too.
    REFUSED_METHODS = ("TRACE", "CONNECT")
    OUR_PACKAGES = {"accounts", "api", "project", "django"}

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        super().__init__(get_response)
        self.checks_host_only = not (
            settings.DISALLOWED_USER_AGENTS or settings.PREPEND_WWW or settings.USE_X_FORWARDED_HOST
        )

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        # Load balancers send an instance's IP address as Host, which is not in ALLOWED_HOSTS.
        if request.path_info in settings.PROBE_PATHS:
            return None
        if self.checks_host_only and hosts.is_allowed(request.META.get("HTTP_HOST", "")):
            return None
        return super().process_request(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: object, kwargs: object
    ) -> HttpResponse | None:
        # Django's form views handle PUT as POST, and the admin handles any method as GET. Views that are exempt from
        # CSRF are not pages, and check the method themselves.
        if request.method in self.PAGE_METHODS or getattr(view, "csrf_exempt", False):
            return None
        if request.method not in self.REFUSED_METHODS and not self._is_our_page(request, view):
            return None
        return HttpResponseNotAllowed(self.PAGE_METHODS)

    def _is_our_page(self, request: HttpRequest, view: Callable[..., HttpResponse]) -> bool:
        """Whether the view is of the project, Django or the admin. Views of other apps check the method themselves."""
        if request.resolver_match and "admin" in request.resolver_match.app_names:
            return True
        module: str = getattr(getattr(view, "view_class", view), "__module__", "")
        return module.partition(".")[0] in self.OUR_PACKAGES

    def should_redirect_with_slash(self, request: HttpRequest) -> bool:
        return request.method in ("GET", "HEAD") and super().should_redirect_with_slash(request)


class SessionMiddleware(TwoWayLayer, sessions.SessionMiddleware):
    """As Django's. A session that was only read needs `Vary`, which is remembered."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        session = getattr(request, "session", None)
        if session is None or session.modified or session.is_empty() or settings.SESSION_SAVE_EVERY_REQUEST:
            return super().process_response(request, response)
        if session.accessed:
            headers.add_vary(response, "Cookie")
        return response


class PostOnlyRedirectMiddleware(ResponseLayer):
    """Changes a redirect to a URL that accepts only POST: the browser is sent to the page with its form."""

    # The other redirects repeat the method (307, 308) or correct the URL (301).
    STATUS_CODES = (HTTPStatus.FOUND, HTTPStatus.SEE_OTHER)

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if response.status_code not in self.STATUS_CODES:
            return response
        path = post_only.local_path(request, response["Location"])
        if page := path and post_only.page_with_form(path):
            response["Location"] = page
        return response


class SecurityHeadersMiddleware(ResponseLayer):
    """
    Sets the security headers that the view has not set, in place of Django's SecurityMiddleware and
    XFrameOptionsMiddleware, and forbids caches to store the response.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        super().__init__(get_response)
        self.over_http = headers.DefaultHeaders(headers.security_headers())
        self.over_https = headers.DefaultHeaders(headers.security_headers() | headers.strict_transport_security())

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        defaults = self.over_https if request.is_secure() else self.over_http
        if response.status_code in (404, 500) and settings.DEBUG:
            # Django's debug pages have inline styles.
            defaults = defaults.without("Content-Security-Policy")
        if getattr(response, "xframe_options_exempt", False):
            defaults = defaults.without("X-Frame-Options")
        defaults.set(response)
        return response


class FetchMetadataMiddleware(Layer):
    """
    Refuses unsafe cross-site requests by CSRF_FAILURE_VIEW, unless their origin is in CSRF_TRUSTED_ORIGINS. Requests
    without Sec-Fetch-Site and Origin are left to the check of the CSRF token.
    """

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: object, kwargs: object
    ) -> HttpResponse | None:
        # The API is exempt: api.authentication ignores the cookie of a cross-site request, and tokens need no check.
        if request.method in SAFE_METHODS or getattr(view, "csrf_exempt", False):
            return None
        if not cross_site.is_cross_site(request) or cross_site.is_trusted(request.headers.get("Origin", "")):
            return None
        reason = f"cross-site request: {cross_site.describe_source(request)}"
        refusal: HttpResponse = get_callable(settings.CSRF_FAILURE_VIEW)(request, reason=reason)
        return refusal


asigned_in_user = sync_to_async(signed_in_user)


class AuthenticationMiddleware(RequestLayer, auth.AuthenticationMiddleware):
    """As Django's, with the user that was read with the session in one statement."""

    def process_request(self, request: BrowserRequest) -> None:
        # Not super(): it would set both attributes, which are replaced here.
        request.user = SimpleLazyObject(lambda: signed_in_user(request))  # type: ignore[assignment]
        request.auser = partial(asigned_in_user, request)

    def process_exception(self, request: BrowserRequest, exception: Exception) -> HttpResponse | None:
        """Redirects to the sign-in page if a row is missing because the account was deleted during the request."""
        if not isinstance(exception, (ObjectDoesNotExist, IntegrityError)):
            return None
        sign_in = request.session.loaded_sign_in
        if sign_in is None or User.objects.filter(pk=sign_in.user_id).exists():
            return None
        return redirect(settings.LOGIN_URL)


class RequestContextMiddleware:
    """
    Makes the request available to request_context, for sign-ins, security events and the log, logs that it was
    refused, and returns its id in X-Request-ID. Comes after TrustedProxyMiddleware, which removes addresses and ids of
    untrusted clients.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with request_context.use_request(request):
            response = self.get_response(request)
            if response.status_code >= HTTPStatus.BAD_REQUEST:
                refusals.note(request, response)
        headers.set_safe(response, "X-Request-ID", request_context.request_id(request))
        return response


class TooManyAttemptsMiddleware(ResponseLayer):
    """Answers 429 for a form that was rate-limited, the admin's too, and sets the cookie of known browsers."""

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
