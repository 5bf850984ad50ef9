"""Error responses: every error has a `detail`, a `code`, its status, and the headers of that status."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from rest_framework import exceptions, status, views
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import refusals
from accounts.factors import errors as factors
from accounts.models import User
from accounts.rate_limits import TooManyAttempts
from accounts.support import NotInSupport
from api import dpop, metrics, outages
from api.api_keys import InsufficientScope
from api.outages import Outage
from api.tokens import SignInEnded

RETRY_AFTER_SECONDS = 2
# The codes of a 401 for a token that the client sent.
REFUSED_TOKEN_CODES = {"token_not_valid", "sign_in_ended", "bad_authorization_header", "api_key_not_valid"}
FACTOR_ERRORS = (
    factors.SecondStepFailed,
    factors.UnknownPasskey,
    factors.StepNotValid,
    factors.FactorRefused,
)
CONFLICTS = {"too_many_factors", "no_second_factor", "passkey_exists"}
# The message of api.tokens; the code is that of a forged token.
EXPIRED_MESSAGE = "Token is expired"
INVALID = {"detail": "The input is not valid.", "code": "invalid"}


class Unavailable(exceptions.APIException):
    """The database is unavailable. The client's token is still valid."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = str(Outage.UNREACHABLE)
    default_code = "unavailable"
    wait = RETRY_AFTER_SECONDS


class RecentSignInRequired(exceptions.PermissionDenied):
    """
    The user must prove who they are again. The status is 403, since clients answer 401 with a refresh; a permission can
    choose 401, as RFC 9470 has it.
    """

    default_detail = "Confirm who you are first, at /api/reauthenticate/, by one of the methods."
    default_code = "recent_sign_in_required"

    def __init__(self, methods: Sequence[str], level: int, within: timedelta, status_code: int = 403) -> None:
        super().__init__()
        self.status_code = status_code
        self.members = {"methods": list(methods)}
        # RFC 9470, section 3
        self.challenge = (
            'Bearer realm="api", error="insufficient_user_authentication", '
            f'acr_values="aal{level}", max_age="{int(within.total_seconds())}"'
        )


class SecondStepRequired(exceptions.PermissionDenied):
    """The password is right, and the account has a second factor. Nothing was started."""

    default_code = "second_step_required"

    def __init__(self, path: str, **members: Any) -> None:
        super().__init__(f"Finish the sign-in with a second factor, at {path}, by one of the methods.")
        self.members = members


class SecondFactorMissing(exceptions.PermissionDenied):
    default_detail = "This account must have a second factor. Add one on the site, and sign in again."
    default_code = "second_factor_missing"


class SessionRequired(exceptions.PermissionDenied):
    """An access token of a browser's sign-in cannot do this: the request must have the session cookie."""

    default_detail = "This needs the session cookie: its key is replaced. Send no access token."
    default_code = "session_required"


class BoundTokensOnly(exceptions.PermissionDenied):
    """DPOP_REQUIRED: no API key can be bound to a key of the client."""

    default_detail = "This account uses tokens that are bound to a key. It can have no API key."
    default_code = "bound_tokens_only"


class SecondStepFailed(exceptions.AuthenticationFailed):
    default_code = "second_step_failed"


class UnknownPasskey(exceptions.NotFound):
    default_code = "unknown_passkey"


class BadStep(exceptions.APIException):
    """A step that is not valid, or a factor that cannot be added."""

    status_code = status.HTTP_400_BAD_REQUEST


class FactorConflict(exceptions.APIException):
    """The account has too many factors, or none."""

    status_code = status.HTTP_409_CONFLICT


@contextmanager
def as_throttled() -> Iterator[None]:
    """Raises Throttled for TooManyAttempts, which a serializer would report as invalid input."""
    try:
        yield
    except TooManyAttempts as error:
        raise exceptions.Throttled(error.seconds) from error


@contextmanager
def as_api_errors() -> Iterator[None]:
    """As as_throttled(), also for the errors of second factors."""
    try:
        with as_throttled():
            yield
    except FACTOR_ERRORS as error:
        raise _as_api_exception(error) from error


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """The EXCEPTION_HANDLER of Django REST framework. Returns None for an error of the code, which becomes a 500."""
    if outage := outages.outage_of(exc):
        outages.log_database_outage(exc, outage)
        exc = Unavailable(outage)
    if isinstance(exc, TooManyAttempts):
        exc = exceptions.Throttled(exc.seconds)
    if isinstance(exc, User.DoesNotExist) and _caller_was_deleted(context["request"]):
        return _deleted_user_response(context)
    exc = _as_api_exception(exc)
    response = views.exception_handler(exc, context)
    if response is None:
        return None
    response.data = _body_of(exc, response.data)
    if response.data["code"] in REFUSED_TOKEN_CODES and "WWW-Authenticate" in response:
        metrics.refused_tokens.inc()
        # RFC 6750, section 3.1
        response["WWW-Authenticate"] = f'{response["WWW-Authenticate"]}, error="invalid_token"'
    response.data |= getattr(exc, "members", {})
    _explain(context["request"]._request, exc)
    if isinstance(exc, RecentSignInRequired | InsufficientScope):
        response["WWW-Authenticate"] = exc.challenge
    if isinstance(exc, dpop.ProofRefused):
        _add_proof_headers(response, exc)
    return response


def _explain(request: HttpRequest, exc: Exception) -> None:
    """For the log of refused requests. Expired tokens are refused in the normal course: clients refresh them."""
    if isinstance(exc, exceptions.ValidationError):
        refusals.explain(request, " ".join(sorted(set(_codes(exc.detail)))))
    elif type(exc.__cause__) is ValueError:
        # A text of api.strict_json or of the interpreter, without input.
        refusals.explain(request, str(exc.__cause__))
    elif EXPIRED_MESSAGE in _texts(getattr(exc, "detail", None)):
        refusals.expect(request)


def _add_proof_headers(response: Response, refusal: dpop.ProofRefused) -> None:
    """RFC 9449, sections 5, 7.1 and 8."""
    if refusal.status_code == status.HTTP_401_UNAUTHORIZED:
        response["WWW-Authenticate"] = dpop.challenge(refusal.error)
    else:
        response.data["error"] = refusal.error
    if refusal.nonce:
        response["DPoP-Nonce"] = refusal.nonce


def _caller_was_deleted(request: Request) -> bool:
    """Whether the authenticated user was deleted during the request. One statement if a user is authenticated."""
    # DRF's private attribute: the property `user` would authenticate again.
    user_id = getattr(getattr(request, "_user", None), "pk", None)
    return user_id is not None and not User._base_manager.filter(pk=user_id).exists()


def _deleted_user_response(context: dict[str, Any]) -> Response:
    """A 401, as for every later request: the user's tokens are blocked."""
    challenge = context["view"].get_authenticate_header(context["request"])
    headers = {"WWW-Authenticate": f'{challenge}, error="invalid_token"'}
    body = {"detail": SignInEnded.default_detail, "code": SignInEnded.default_code}
    return Response(body, status=status.HTTP_401_UNAUTHORIZED, headers=headers)


# The body: `detail` is a text and `code` a word, for any arguments of the exception


def _as_api_exception(exc: Exception) -> Exception:
    """Converts Django's Http404 and PermissionDenied. DRF does too, with arguments that are not texts."""
    if isinstance(exc, Http404):
        return exceptions.NotFound(_joined_texts(exc.args))
    if isinstance(exc, NotInSupport):
        return exceptions.PermissionDenied("A staff member who is signed in as the user may not do this.", exc.code)
    if isinstance(exc, PermissionDenied):
        return exceptions.PermissionDenied(_joined_texts(exc.args))
    if isinstance(exc, factors.SecondStepFailed):
        return SecondStepFailed(exc.message)
    if isinstance(exc, factors.UnknownPasskey):
        return UnknownPasskey(exc.message)
    if isinstance(exc, factors.StepNotValid | factors.FactorRefused):
        return (FactorConflict if exc.code in CONFLICTS else BadStep)(exc.message, exc.code)
    return exc


def _joined_texts(args: tuple[Any, ...]) -> str | None:
    """The message or messages of an exception; None, for the default message, if there are none."""
    return " ".join(_texts(args)) or None


def _body_of(exc: Exception, data: Any) -> dict[str, Any]:
    """`data` is what DRF returns for the exception's detail: a mapping, or a list."""
    if isinstance(exc, exceptions.ValidationError):
        fields = data if isinstance(data, dict) else {"non_field_errors": data}
        return {**fields, **INVALID}
    body = dict(data) if isinstance(data, Mapping) else {}
    detail = body.get("detail", data)
    if not isinstance(body.get("code"), str):
        body["code"] = next(_codes(detail), None) or getattr(exc, "default_code", "error")
    if not isinstance(body.get("detail"), str):
        body["detail"] = " ".join(_texts(detail)) or str(getattr(exc, "default_detail", ""))
    return body


def _texts(detail: Any) -> Iterator[str]:
    for each in _leaves(detail):
        if text := str(each):
            yield text


def _codes(detail: Any) -> Iterator[str]:
    for each in _leaves(detail):
        if code := getattr(each, "code", None):
            yield str(code)


def _leaves(detail: Any) -> Iterator[Any]:
    """The leaves of nested lists and mappings. A lazy text is one leaf, although it is iterable."""
    if isinstance(detail, Mapping):
        detail = list(detail.values())
    if isinstance(detail, list | tuple | set | frozenset):
        for each in detail:
            yield from _leaves(each)
    elif detail is not None:
        yield detail
