"""The error pages of the site (400 to 503, CSRF failure), and the same errors as JSON for paths of the API."""

import sys
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils.encoding import escape_uri_path
from django.utils.http import escape_leading_slashes

from accounts.http import post_only
from accounts.support import NotInSupport
from api import outages
from api.authentication import log_refused_form
from api.errors import RETRY_AFTER_SECONDS
from api.outages import Outage
from api.parsers import TooLarge
from project import site_context
from project.theme import theme_of

# Clients of these paths are programs: they get JSON.
FOR_PROGRAMS = ("/api/", "/.well-known/", "/health/", "/metrics")


def _json(code: str, http_status: HTTPStatus, detail: str) -> JsonResponse:
    response = JsonResponse({"detail": detail, "code": code}, status=http_status)
    response.refusal_code = code  # type: ignore[attr-defined]
    return response


def _error_page(request: HttpRequest, code: str, http_status: HTTPStatus, detail: str, **extra: Any) -> HttpResponse:
    if request.path.startswith("/api/"):
        return _json(code, http_status, detail)
    # Browsers treat "//host" and "/\\host" as another site, and ignore tabs and line breaks in a URL.
    own_path = escape_leading_slashes(escape_uri_path(request.path))
    context = {"code": code, "status": http_status.value, "path": own_path, "form_page": None} | extra
    if http_status < HTTPStatus.INTERNAL_SERVER_ERROR:
        response = HttpResponse(render_to_string("error.html", context, request), status=http_status)
        response.refusal_code = code  # type: ignore[attr-defined]
        return response
    # A page about an error of the server is rendered without session and database, which may be unavailable.
    context |= site_context.brand() | site_context.links() | {"theme": theme_of(request)}
    return HttpResponse(render_to_string("error.html", context), status=http_status, headers={"Vary": "Cookie"})


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig):
        return too_large(request)
    return _error_page(request, "bad_request", HTTPStatus.BAD_REQUEST, "The request could not be understood.")


def too_large(request: HttpRequest) -> HttpResponse:
    return _error_page(request, "too_large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TooLarge.default_detail)


def length_required(request: HttpRequest) -> HttpResponse:
    detail = "The request body has no Content-Length, which this server needs. Send one."
    return _error_page(request, "length_required", HTTPStatus.LENGTH_REQUIRED, detail)


def permission_denied(request: HttpRequest, exception: PermissionDenied) -> HttpResponse:
    if isinstance(exception, NotInSupport):
        detail = "A staff member who is signed in as the user may not do this."
        return _error_page(request, exception.code, HTTPStatus.FORBIDDEN, detail)
    return _error_page(request, "permission_denied", HTTPStatus.FORBIDDEN, "You may not do this.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    log_refused_form(request, reason)
    detail = "The form has expired, or was sent by another site. Go back, reload the page and try again."
    return _error_page(request, "csrf_failed", HTTPStatus.FORBIDDEN, detail)


def not_found(request: HttpRequest, exception: Http404) -> HttpResponse:
    return _error_page(request, "not_found", HTTPStatus.NOT_FOUND, "There is nothing at this address.")


def method_not_allowed(request: HttpRequest, allowed: str) -> HttpResponse:
    code, http_status, detail = "method_not_allowed", HTTPStatus.METHOD_NOT_ALLOWED, "The method is not allowed here."
    if request.path.startswith(FOR_PROGRAMS):
        response: HttpResponse = _json(code, http_status, detail)
    else:
        response = _error_page(
            request, code, http_status, detail, form_page=post_only.page_with_form(request.path_info)
        )
    response["Allow"] = allowed
    return response


def too_many_requests(request: HttpRequest, seconds: int) -> HttpResponse:
    detail = f"Too many attempts. Try again in {seconds} seconds."
    response = _error_page(request, "throttled", HTTPStatus.TOO_MANY_REQUESTS, detail)
    response["Retry-After"] = str(seconds)
    return response


def _unavailable(request: HttpRequest, outage: Outage) -> HttpResponse:
    response = _error_page(request, "unavailable", HTTPStatus.SERVICE_UNAVAILABLE, outage, trouble=outage.name)
    response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    error = sys.exc_info()[1]
    if error and (outage := outages.outage_of(error)):
        outages.log_database_outage(error, outage)
        return _unavailable(request, outage)
    return _error_page(request, "error", HTTPStatus.INTERNAL_SERVER_ERROR, "The server had an error. Try again later.")
