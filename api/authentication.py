"""Who is calling: by access token from anywhere, or by session from the project's own pages."""

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
    """`request.auth` is the access token."""

    def __init__(self) -> None:
        # One is made for every request: SimpleJWT's own looks up the user model, which is not used here.
        pass

    def authenticate(self, request: Request) -> tuple[User, AccessToken] | None:
        if not metrics.sampler.is_due():
            return self._authenticate(request)
        with metrics.token_check_seconds.time():
            return self._authenticate(request)

    def _authenticate(self, request: Request) -> tuple[User, AccessToken] | None:
        """Whatever is in the header, it is meant: it never falls back to the cookie, nor to the other scheme."""
        header = self.get_header(request)
        if header is None:
            return None
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
        """From the claims; every other field is read from the database if and when code asks for one."""
        known: list[tuple[str, object]] = [("id", validated_token.user_id)]
        if username := validated_token.get("username"):
            known.append(("username", username))
        return partial_instance(User, known)


class AuthenticatedRequest(Request):
    """For type checkers: a request that IsAuthenticated lets pass."""

    user: User
    auth: AccessToken | SignIn


def sid_of(request: Request) -> UUID | None:
    """The sign-in by which the request is made; None where a test's force_authenticate() named no token."""
    return getattr(request.auth, "sid", None)


class SessionAuthentication(authentication.SessionAuthentication):
    """`request.auth` is the sign-in. A cookie that comes along with a request of a foreign page does not count."""

    def authenticate(self, request: Request) -> tuple[User, SignIn] | None:
        if cross_site.is_cross_site(request):
            return None
        if super().authenticate(request) is None:
            return None
        sign_in: SignIn = request._request.session.sign_in  # type: ignore[attr-defined]
        # Not request.user, which is a lazy stand-in for the same: each look at it would cost a call.
        return sign_in.user, sign_in

    def enforce_csrf(self, request: Request) -> None:
        """DRF builds a middleware for each request to find that a safe one needs no token."""
        if request.method in SAFE_METHODS:
            return
        try:
            super().enforce_csrf(request)
        except PermissionDenied as refusal:
            log_refused_form(request._request, str(refusal.detail))
            raise


def log_refused_form(request: HttpRequest, reason: str) -> None:
    extra = {"request": request, "status_code": HTTPStatus.FORBIDDEN.value}
    logger.warning("Refused a form (%s): %s", _without_secrets(reason), request.path, extra=extra)


def _without_secrets(reason: str) -> str:
    """Django quotes the Referer: its path may be a link from a mail."""
    return URL_PATH.sub(r"\1", reason)[:MAX_REASON_LENGTH]
