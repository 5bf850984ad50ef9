"""Errors are answers: every one has a `detail` and a `code`, the right status, and the headers that go with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rest_framework import exceptions, status, views
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import InvalidToken

from accounts.models import User
from accounts.rate_limits import TooManyAttempts
from api import dpop, outages
from api.error_bodies import as_api_exception, body_of
from api.outages import Trouble
from api.refused_tokens import refused_tokens

RETRY_AFTER_SECONDS = 2
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
