"""Who is calling: by access token from anywhere, or by session from the project's own pages."""

from uuid import UUID

from django.utils.translation import gettext_lazy as _
from rest_framework import authentication, status
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken

from accounts import origin
from accounts.models import SignIn, User
from accounts.rows import from_fields
from api import dpop, metrics, refused_forms
from api.tokens import AccessToken


class TokenAuthentication(JWTAuthentication):
    """`request.auth` is the access token."""

    def __init__(self) -> None:
        # One is made for every request: SimpleJWT's own looks up the user model, which is not used here.
        pass

    def authenticate(self, request: Request) -> tuple[User, AccessToken] | None:
        if not metrics.sampler.is_due():
            return self._authenticate(request)
        with metrics.checks.time():
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
            self._check_holder(request, raw, token)
        elif token.bound_to:
            raise InvalidToken(_("The token is bound to a key: it needs the scheme DPoP, and a proof."))  # type: ignore[arg-type]
        return self.get_user(token), token

    def authenticate_header(self, request: Request) -> str:
        if request.META.get("HTTP_AUTHORIZATION", "").lower().startswith("dpop"):
            return dpop.challenge()
        return super().authenticate_header(request)

    def _check_holder(self, request: Request, raw: bytes, token: AccessToken) -> None:
        if not token.bound_to:
            raise InvalidToken(_("The token is not bound to a key: it needs the scheme Bearer."))  # type: ignore[arg-type]
        try:
            dpop.proven_key(request, raw, token.bound_to)
        except dpop.ProofRefused as refusal:
            refusal.status_code = status.HTTP_401_UNAUTHORIZED
            raise

    def get_user(self, validated_token: AccessToken) -> User:
        """From the claims; every other field is read from the database if and when code asks for one."""
        known: list[tuple[str, object]] = [("id", validated_token.user_id)]
        if username := validated_token.get("username"):
            known.append(("username", username))
        return from_fields(User, known)


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
        if origin.is_foreign_page(request):
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
            refused_forms.log(request._request, str(refusal.detail))
            raise
