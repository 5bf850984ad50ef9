"""Errors are answers: every one has a `detail` and a `code`, the right status, and the headers that go with it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils.encoding import escape_uri_path
from django.utils.http import escape_leading_slashes
from django.utils.log import log_response
from rest_framework import exceptions, status, views
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import InvalidToken

from accounts.http import post_only
from accounts.models import User
from accounts.rate_limits import TooManyAttempts
from api import dpop, outages
from api.authentication import log_refused_form
from api.error_bodies import as_api_exception, body_of
from api.outages import Trouble
from api.parsers import TooLarge
from api.refused_tokens import refused_tokens

RETRY_AFTER_SECONDS = 2
# What programs ask, and people do not: they get no page.
FOR_PROGRAMS = ("/api/", "/.well-known/", "/health/", "/metrics")
TOKEN_PRESENTED = {"token_not_valid", "bad_authorization_header"}


class Unavailable(exceptions.APIException):
    """Our own trouble, not the caller's: their token is as good as before."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = str(Trouble.UNREACHABLE)
    default_code = "unavailable"
    wait = RETRY_AFTER_SECONDS


@contextmanager
def as_throttled() -> Iterator[None]:
    """To be put around a guess: inside a serializer, a TooManyAttempts would pass for bad input."""
    try:
        yield
    except TooManyAttempts as error:
        raise exceptions.Throttled(error.seconds) from error


class RecentSignInRequired(exceptions.PermissionDenied):
    default_detail = "Confirm your password first, at /api/password/confirm/: you gave it too long ago."
    default_code = "recent_sign_in_required"


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    if what := outages.trouble_of(exc):
        outages.log_database_outage(exc, what)
        exc = Unavailable(what)
    if isinstance(exc, TooManyAttempts):
        exc = exceptions.Throttled(exc.seconds)
    if isinstance(exc, User.DoesNotExist) and _caller_was_deleted(context["request"]):
        return _deleted_user_response(context)
    exc = as_api_exception(exc)
    response = views.exception_handler(exc, context)
    if response is None:
        return None
    response.data = body_of(exc, response.data)
    if response.data["code"] in TOKEN_PRESENTED and "WWW-Authenticate" in response:
        refused_tokens.count()
        # RFC 6750, section 3.1
        response["WWW-Authenticate"] = f'{response["WWW-Authenticate"]}, error="invalid_token"'
    if isinstance(exc, dpop.ProofRefused):
        _add_proof_headers(response, exc)
    return response


def _add_proof_headers(response: Response, refusal: dpop.ProofRefused) -> None:
    """RFC 9449, sections 5, 7.1 and 8."""
    if refusal.status_code == status.HTTP_401_UNAUTHORIZED:
        response["WWW-Authenticate"] = dpop.challenge(refusal.error)
    else:
        response.data["error"] = refusal.error
    if refusal.nonce:
        response["DPoP-Nonce"] = refusal.nonce


def _caller_was_deleted(request: Request) -> bool:
    """Whether the user who was authenticated was deleted meanwhile; a view may as well miss another user."""
    user_id = getattr(getattr(request, "_user", None), "pk", None)
    return user_id is not None and not User._base_manager.filter(pk=user_id).exists()


def _deleted_user_response(context: dict[str, Any]) -> Response:
    """Their tokens are blocked; this one was checked just before."""
    challenge = context["view"].get_authenticate_header(context["request"])
    headers = {"WWW-Authenticate": f'{challenge}, error="invalid_token"'}
    return Response(InvalidToken().detail, status=status.HTTP_401_UNAUTHORIZED, headers=headers)


def _json(code: str, http_status: HTTPStatus, detail: str) -> JsonResponse:
    return JsonResponse({"detail": detail, "code": code}, status=http_status)


def _answer(request: HttpRequest, code: str, http_status: HTTPStatus, detail: str, **extra: Any) -> HttpResponse:
    if request.path.startswith("/api/"):
        return _json(code, http_status, detail)
    # Browsers take "//host" and "/\\host" for another site, and drop tabs and line breaks before they look.
    own_path = escape_leading_slashes(escape_uri_path(request.path))
    context = {"code": code, "status": http_status.value, "path": own_path, "form_page": None} | extra
    # A page about our own trouble must not need what may be in trouble: it is made without session and database.
    from_request = request if http_status < HTTPStatus.INTERNAL_SERVER_ERROR else None
    return HttpResponse(render_to_string("error.html", context, from_request), status=http_status)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig):
        return too_large(request)
    return _answer(request, "bad_request", HTTPStatus.BAD_REQUEST, "The request could not be understood.")


def too_large(request: HttpRequest) -> HttpResponse:
    return _answer(request, "too_large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TooLarge.default_detail)


def length_required(request: HttpRequest) -> HttpResponse:
    detail = "The request body has no Content-Length, which this server needs. Send one."
    return _answer(request, "length_required", HTTPStatus.LENGTH_REQUIRED, detail)


def permission_denied(request: HttpRequest, exception: PermissionDenied) -> HttpResponse:
    return _answer(request, "permission_denied", HTTPStatus.FORBIDDEN, "You may not do this.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    log_refused_form(request, reason)
    detail = "The form was open too long, or came from elsewhere. Go back, reload the page and try again."
    return _answer(request, "csrf_failed", HTTPStatus.FORBIDDEN, detail)


def not_found(request: HttpRequest, exception: Http404) -> HttpResponse:
    return _answer(request, "not_found", HTTPStatus.NOT_FOUND, "There is nothing at this address.")


def method_not_allowed(request: HttpRequest, allowed: str) -> HttpResponse:
    code, http_status, detail = "method_not_allowed", HTTPStatus.METHOD_NOT_ALLOWED, "The method is not allowed here."
    if request.path.startswith(FOR_PROGRAMS):
        response: HttpResponse = _json(code, http_status, detail)
    else:
        response = _answer(request, code, http_status, detail, form_page=post_only.page_with_form(request.path_info))
    response["Allow"] = allowed
    return response


def too_many_requests(request: HttpRequest, seconds: int) -> HttpResponse:
    detail = f"Too many attempts. Try again in {seconds} seconds."
    response = _answer(request, "throttled", HTTPStatus.TOO_MANY_REQUESTS, detail)
    response["Retry-After"] = str(seconds)
    return response


def _unavailable(request: HttpRequest, what: Trouble) -> HttpResponse:
    response = _answer(request, "unavailable", HTTPStatus.SERVICE_UNAVAILABLE, what, trouble=what.name)
    response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    # Here, and not by Django, which would log the exception for each request.
    log_response("%s: %s", response.reason_phrase, request.path, response=response, request=request)
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    error = sys.exc_info()[1]
    if error and (what := outages.trouble_of(error)):
        outages.log_database_outage(error, what)
        return _unavailable(request, what)
    return _answer(request, "error", HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong on our side.")
