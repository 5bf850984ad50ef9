"""Middleware of support sign-ins (accounts.support): what they may use, and the banner on every page."""

import re
from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string

from accounts import support
from accounts.http.layers import ResponseLayer
from accounts.models import SignIn

BODY = re.compile(rb"<body\b[^>]*>", re.IGNORECASE)


class SupportMiddleware(ResponseLayer):
    """
    Refuses what a support sign-in may not do, and adds a banner with a button that ends it to each page, also to those
    of other apps. For the API, api.authentication refuses. Other requests cost no statement: an unsafe one to a page
    reads its session anyway.
    """

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: object, kwargs: object
    ) -> HttpResponse | None:
        is_refused = support.in_support(view) is False
        if (request.method in support.SAFE_METHODS and not is_refused) or _authenticates_itself(view):
            return None
        sign_in: SignIn | None = request.session.sign_in  # type: ignore[attr-defined]
        if sign_in:
            support.check(request, view, sign_in)
        return None

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        sign_in: SignIn | None = request.session.loaded_sign_in  # type: ignore[attr-defined]
        # The cookie comes with support. It stays when that has expired, so that the staff member can return.
        may_be_over = settings.STAFF_COOKIE_NAME in request.COOKIES
        if not may_be_over and (sign_in is None or sign_in.actor_sid is None):
            return response
        if isinstance(response, HttpResponse) and _is_page(response):
            sign_in = request.session.sign_in  # type: ignore[attr-defined]
            if sign_in is None or sign_in.actor_sid:
                _add_banner(request, response, sign_in)
        return response


def _authenticates_itself(view: Callable[..., HttpResponse]) -> bool:
    """Whether it is a view of Django REST framework, whose authentication calls support.check()."""
    return hasattr(getattr(view, "cls", None), "authentication_classes")


def _is_page(response: HttpResponse) -> bool:
    is_html = response.headers.get("Content-Type", "").startswith("text/html")
    # A page about an error of the server is rendered without session and database, which may be unavailable.
    is_error = response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
    return is_html and not is_error and not response.has_header("Content-Encoding")


def _add_banner(request: HttpRequest, response: HttpResponse, sign_in: SignIn | None) -> None:
    """Inserts the banner at the beginning of the body, or at the end of a page without a <body>."""
    banner = render_to_string("support_banner.html", {"sign_in": sign_in}, request).encode(response.charset)
    found = BODY.search(response.content)
    place = found.end() if found else len(response.content)
    response.content = response.content[:place] + banner + response.content[place:]
    if response.has_header("Content-Length"):
        response["Content-Length"] = str(len(response.content))
