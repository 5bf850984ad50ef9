"""Authentication of API requests: by access token from anywhere, or by session cookie from the project's own pages."""

import logging
import re
from http import HTTPStatus
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from rest_framework import authentication, status
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken

from accounts.compiled_queries import partial_instance
from accounts.http import cross_site
from accounts.models import SignIn, User
from api import dpop, metrics
from api.tokens import AccessToken

logger = logging.getLogger(__name__)

MAX_REASON_LENGTH = 300
URL_PATH = re.compile(r"(://[^/?#\s]*)[/?#]\S*")


class TokenAuthentication(JWTAuthentication):
    """Sets `request.auth` to the access token. No statement, unless the blocklist mirror is not current."""

    def __init__(self) -> None:
        # Runs for every request. SimpleJWT's own looks up the user model, which is not used here.
        pass

    def authenticate(self, request: Request) -> tuple[User, AccessToken] | None:
        """If an Authorization header is present, only that is used; the cookie is never a fallback."""
        header = self.get_header(request)
        if header is None:
            return None
        if not metrics.sampler.is_due():
            return self._authenticate(request, header)
        with metrics.token_check_seconds.time():
            return self._authenticate(request, header)

    def _authenticate(self, request: Request, header: bytes) -> tuple[User, AccessToken]:
        scheme, _separator, raw = header.partition(b" ")
        scheme = scheme.lower()
        if scheme not in (b"bearer", b"dpop") or not raw:
            raise AuthenticationFailed(
                _("The Authorization header must be: Bearer or DPoP, a space, and an access token."),  # type: ignore[arg-type]
                code="bad_authorization_header",
            )
        token: AccessToken = self.get_validated_token(raw)  # type: ignore[assignment]
        if scheme == b"dpop":
            self._check_proof(request, raw, token)
        elif token.key_thumbprint:
            raise InvalidToken(_("The token is bound to a key: it needs the scheme DPoP, and a proof."))  # type: ignore[arg-type]
        return self.get_user(token), token

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


class AuthenticatedRequest(Request):
    """For type checkers: a request that IsAuthenticated has accepted."""

    user: User
    auth: AccessToken | SignIn


def sid_of(request: Request) -> UUID | None:
    """The id of the sign-in that makes the request; None after a test's force_authenticate() without a token."""
    return getattr(request.auth, "sid", None)


class SessionAuthentication(authentication.SessionAuthentication):
    """Sets `request.auth` to the sign-in. The cookie of a cross-site request is ignored."""

    def authenticate(self, request: Request) -> tuple[User, SignIn] | None:
        if cross_site.is_cross_site(request):
            return None
        # Not request.user, a lazy object, of which DRF's own method reads `is_active`: that would be a statement.
        sign_in: SignIn | None = request._request.session.sign_in if hasattr(request._request, "session") else None  # type: ignore[attr-defined]
        if sign_in is None:
            return None
        self.enforce_csrf(request)
        sign_in.touch()
        return sign_in.user, sign_in

    def enforce_csrf(self, request: Request) -> None:
        """Skips safe methods, for which DRF would build a middleware that does nothing."""
        if request.method in SAFE_METHODS:
            return
        try:
            super().enforce_csrf(request)
        except PermissionDenied as refusal:
            log_refused_form(request._request, str(refusal.detail))
            raise


def log_refused_form(request: HttpRequest, reason: str) -> None:
    """Logs a request that failed the CSRF check, by its path and reason."""
    extra = {"request": request, "status_code": HTTPStatus.FORBIDDEN.value}
    logger.warning("Refused a form (%s): %s", _without_secrets(reason), request.path, extra=extra)


def _without_secrets(reason: str) -> str:
    """Removes paths of URLs: the reason contains the Referer, whose path may be a link from a mail."""
    return URL_PATH.sub(r"\1", reason)[:MAX_REASON_LENGTH]
