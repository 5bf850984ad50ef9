"""Who asks, from where, and what may be kept of the answer."""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from itertools import chain

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import middleware as auth
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.middleware import common
from django.template.response import TemplateResponse
from django.urls import get_callable
from django.utils.deprecation import MiddlewareMixin
from django.utils.functional import SimpleLazyObject

from accounts import landing, locks, origin, policy
from accounts.sessions import BrowserRequest, signed_in_user

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")


class TrustedProxyMiddleware(MiddlewareMixin):
    """REMOTE_ADDR becomes the client's address, as told by TRUSTED_PROXIES; what others say of it is dropped."""

    FORWARDED = (
        "HTTP_X_FORWARDED_FOR",
        "HTTP_X_FORWARDED_PROTO",
        "HTTP_X_FORWARDED_HOST",
        "HTTP_FORWARDED",
        "HTTP_X_REQUEST_ID",
    )

    def process_request(self, request: HttpRequest) -> None:
        meta = request.META
        if not origin.is_within(meta.get("REMOTE_ADDR", ""), settings.TRUSTED_PROXIES):
            for header in self.FORWARDED:
                meta.pop(header, None)
            return
        # The last hop is the one that the proxy saw itself: earlier ones are hearsay, unless a proxy told them.
        for hop in reversed(meta.get("HTTP_X_FORWARDED_FOR", "").split(",")):
            try:
                meta["REMOTE_ADDR"] = str(ip_address(hop.strip()))
            except ValueError:
                return
            if not origin.is_within(meta["REMOTE_ADDR"], settings.TRUSTED_PROXIES):
                return


class CommonMiddleware(common.CommonMiddleware):
    """As Django's, but pages take three methods, and only what has no body is sent on to the address with the slash."""

    PAGES_TAKE = ("GET", "HEAD", "POST")

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: object, kwargs: object
    ) -> HttpResponse | None:
        # Forms of Django's take a PUT for a POST, and the admin's pages whatever comes for a GET. What is exempt from
        # CSRF is no page, and tells by itself what it takes.
        if request.method in self.PAGES_TAKE or getattr(view, "csrf_exempt", False):
            return None
        return HttpResponseNotAllowed(self.PAGES_TAKE)

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


class PolicyMiddleware(MiddlewareMixin):
    """What a page may load and do, and who may load it. A view that has said so itself is left alone."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        super().__init__(get_response)
        self.headers = {
            "Content-Security-Policy": policy.content_security_policy(),
            "Permissions-Policy": policy.permissions_policy(),
            "Cross-Origin-Resource-Policy": "same-origin",
        }

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if settings.DEBUG and response.status_code in (404, 500):
            # Django's pages for developers have their style inside.
            return response
        for name, value in self.headers.items():
            response.headers.setdefault(name, value)
        return response


class ForeignPageMiddleware(MiddlewareMixin):
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
        if not origin.is_foreign_page(request) or origin.is_trusted(request.headers.get("Origin", "")):
            return None
        refusal: HttpResponse = get_callable(settings.CSRF_FAILURE_VIEW)(request, reason="from a foreign page")
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


class OriginMiddleware:
    """
    Lets sign-ins, security events and lines of the log say where their request came from, and gives the request's id
    back. After TrustedProxyMiddleware: nobody else is believed who says where, or which.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with origin.request_at_hand(request):
            response = self.get_response(request)
        response.headers["X-Request-ID"] = origin.id_of(request)
        return response


class LockMiddleware(MiddlewareMixin):
    """A form that was refused after too many guesses, the admin's too, is a 429; a browser that signed in is known."""

    def process_template_response(self, request: HttpRequest, response: TemplateResponse) -> TemplateResponse:
        form = (response.context_data or {}).get("form")
        if not isinstance(form, BaseForm):
            return response
        for error in chain.from_iterable(form.errors.as_data().values()):
            if isinstance(error, locks.Locked):
                response.status_code = HTTPStatus.TOO_MANY_REQUESTS
                response["Retry-After"] = str(error.seconds)
        return response

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if user := getattr(request, "known_user", None):
            locks.set_cookie(response, user)
        return response
