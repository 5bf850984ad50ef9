"""Authentication of API requests: by access token from anywhere, or by session cookie from the site and its apps."""

import logging
import re
from http import HTTPStatus
from typing import Any, NoReturn
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from rest_framework import authentication, status
from rest_framework.exceptions import NotAuthenticated, PermissionDenied, UnsupportedMediaType
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken

from accounts import refusals, sessions, support
from accounts.compiled_queries import partial_instance
from accounts.http import cross_site
from accounts.models import SignIn, User
from accounts.sessions import SessionStore
from api import api_keys, dpop, metrics
from api.api_keys import ApiKey
from api.tokens import AccessToken

logger = logging.getLogger(__name__)

MAX_REASON_LENGTH = 300
# What a form of any site can send without a preflight request (Fetch, "CORS-safelisted request-header").
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
URL_PATH = re.compile(r"(://[^/?#\s]*)[/?#]\S*")


class TokenAuthentication(JWTAuthentication):
    """
    Sets `request.auth` to the access token, or to the API key. No statement, unless the blocklist mirror is not
    current, or the process has not checked the key before.
    """

    def __init__(self) -> None:
        # Runs for every request. SimpleJWT's own looks up the user model, which is not used here.
        pass

    def authenticate(self, request: Request) -> tuple[User, AccessToken | ApiKey] | None:
        """If an Authorization header is present, only that is used; the cookie is never a fallback."""
        header = self.get_header(request)
        if header is None:
            return None
        if not metrics.sampler.is_due():
            return self._authenticate(request, header)
        with metrics.token_check_seconds.time():
            return self._authenticate(request, header)

    def _authenticate(self, request: Request, header: bytes) -> tuple[User, AccessToken | ApiKey]:
        scheme, _separator, raw = header.partition(b" ")
        scheme = scheme.lower()
        if scheme not in (b"bearer", b"dpop") or not raw:
            raise AuthenticationFailed(
                _("The Authorization header must be: Bearer or DPoP, a space, and an access token."),  # type: ignore[arg-type]
                code="bad_authorization_header",
            )
        if scheme == b"bearer" and raw.startswith(api_keys.PREFIX):
            return api_keys.authenticate(request, raw)
        token: AccessToken = self.get_validated_token(raw)  # type: ignore[assignment]
        if scheme == b"dpop":
            self._check_proof(request, raw, token)
        elif token.key_thumbprint:
            raise InvalidToken(_("The token is bound to a key: it needs the scheme DPoP, and a proof."))  # type: ignore[arg-type]
        user = self.get_user(token)
        if token.support:
            support.check(request._request, _view_of(request), token.support)
            user.acting_staff = token.support.user.acting_staff
        return user, token

    def authenticate_header(self, request: Request) -> str:
        if request.META.get("HTTP_AUTHORIZATION", "").lower().startswith("dpop"):
            return dpop.challenge()
        return super().authenticate_header(request)

    def _check_proof(self, request: Request, raw: bytes, token: AccessToken) -> None:
        if not token.key_thumbprint:
            raise InvalidToken(_("The token is not bound to a key: it needs the scheme Bearer."))  # type: ignore[arg-type]
        try:
            dpop.verify_proof(request, raw, token.key_thumbprint)
        except dpop.ProofRefused as refusal:
            refusal.status_code = status.HTTP_401_UNAUTHORIZED
            raise

    def get_user(self, validated_token: AccessToken) -> User:
        """The user, built from the claims. Other fields are read from the database on first access."""
        fields: list[tuple[str, object]] = [("id", validated_token.user_id)]
        if username := validated_token.get("username"):
            fields.append(("username", username))
        return partial_instance(User, fields)


def _view_of(request: Request) -> Any:
    return (request.parser_context or {}).get("view")


class AuthenticatedRequest(Request):
    """For type checkers: a request that IsAuthenticated has accepted."""

    user: User
    # None for a request with the session cookie, as Django REST framework has it.
    auth: AccessToken | ApiKey | None


def sid_of(request: Request) -> UUID | None:
    """The id of the sign-in that makes the request; None after a test's force_authenticate() without a token."""
    return getattr(session_sign_in(request) or request.auth, "sid", None)


def uses_session(request: Request) -> bool:
    """Whether the request was authenticated by the session cookie."""
    return isinstance(request.successful_authenticator, SessionAuthentication)


def session_sign_in(request: Request) -> SignIn | None:
    """The sign-in of a request with the session cookie; None for a request with a token, or after its sign-out."""
    if not uses_session(request):
        return None
    session: SessionStore = request._request.session  # type: ignore[assignment]
    return session.sign_in


class CsrfFailed(PermissionDenied):
    """An unsafe request with the session cookie, or a sign-in, that another site may have sent."""

    default_code = "csrf_failed"


def read_sign_in(request: AuthenticatedRequest) -> SignIn:
    """
    The sign-in of a request with the cookie, read again with its user. Raises NotAuthenticated if it has ended, or if
    its session key was replaced: a thief of the old key must not get what the user proved meanwhile. One statement.
    """
    stored = sessions.stored_session(request._request.session.session_key or "")
    sign_in = stored.sign_in if stored else None
    if sign_in is None or sign_in != session_sign_in(request) or not sign_in.is_live():
        raise NotAuthenticated
    return sign_in


class SessionAuthentication(authentication.SessionAuthentication):
    """
    `request.auth` is None, as with Django REST framework's own class: session_sign_in() has the sign-in. Without the
    headers of the project's own pages or of APP_ORIGINS, the cookie of a cross-site request is ignored if the method is
    safe, and refused otherwise.
    """

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        http: Any = request._request
        if cross_site.is_cross_site(http) and not cross_site.is_from_app(http):
            if request.method not in SAFE_METHODS and settings.SESSION_COOKIE_NAME in http.COOKIES:
                refuse_source(http, cross_site.describe_source(http))
            return None
        # Not request.user, a lazy object, of which DRF's own method reads `is_active`: that would be a statement.
        sign_in: SignIn | None = http.session.sign_in if hasattr(http, "session") else None
        if sign_in is None:
            return None
        self.enforce_csrf(request)
        support.check(http, _view_of(request), sign_in)
        sign_in.touch()
        return sign_in.user, None

    def enforce_csrf(self, request: Request) -> None:
        """
        Raises CsrfFailed for an unsafe request, unless its headers show that a page of the site or of APP_ORIGINS sent
        it, or it has neither header, and a CSRF token. A form needs the token in any case.
        """
        http = request._request
        if request.method in SAFE_METHODS:
            return
        if cross_site.is_own(http) or cross_site.is_from_app(http):
            if http.content_type not in FORM_TYPES:
                return
            if request.negotiator.select_parser(request, request.parsers) is None:  # type: ignore[union-attr, arg-type]
                raise UnsupportedMediaType(request.content_type)
        elif not cross_site.needs_token(http):
            refuse_source(http, cross_site.describe_source(http))
        try:
            super().enforce_csrf(request)
        except PermissionDenied as refusal:
            log_refused_form(http, str(refusal.detail))
            raise CsrfFailed(str(refusal.detail)) from None


class IsFromOwnSite(BasePermission):
    """
    For requests that start or end the session of a browser, signed in or not. Raises CsrfFailed as
    SessionAuthentication does, except for a client without cookies and without both headers, which is no browser.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        http = request._request
        if http.META.get("HTTP_COOKIE") or not cross_site.has_no_source(http):
            SessionAuthentication().enforce_csrf(request)
        return True


def refuse_source(request: HttpRequest, reason: str) -> NoReturn:
    """Logs and raises CsrfFailed for a request of another site."""
    log_refused_form(request, f"cross-site request: {reason}")
    raise CsrfFailed("CSRF Failed: a page of another site sent the request.")


def log_refused_form(request: HttpRequest, reason: str) -> None:
    """Logs a request that failed the CSRF check, by its path and reason, within the limits of accounts.refusals."""
    if not refusals.admits(request, CsrfFailed.default_code):
        return
    extra = {"request": request, "status_code": HTTPStatus.FORBIDDEN.value}
    logger.warning("Refused a form (%s): %s", _without_secrets(reason), request.path, extra=extra)


def _without_secrets(reason: str) -> str:
    """Removes paths of URLs: the reason contains the Referer, whose path may be a link from a mail."""
    return URL_PATH.sub(r"\1", reason)[:MAX_REASON_LENGTH]
