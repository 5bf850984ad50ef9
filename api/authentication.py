"""Who is calling: by access token from anywhere, or by session from the project's own pages."""

from django.conf import settings
from django.utils.translation import gettext_lazy as _
from rest_framework import authentication
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed

from accounts.models import SignIn, User
from accounts.rows import from_fields
from api.tokens import AccessToken


class TokenAuthentication(JWTAuthentication):
    """`request.auth` is the access token."""

    def __init__(self) -> None:
        # One is made for every request: SimpleJWT's own looks up the user model, which is not used here.
        pass

    def get_raw_token(self, header: bytes) -> bytes:
        """Whatever is in the header, it is meant: it never falls back to the cookie."""
        scheme, _separator, token = header.partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            raise AuthenticationFailed(
                _("The Authorization header must be: Bearer, a space, and an access token."),  # type: ignore[arg-type]
                code="bad_authorization_header",
            )
        return token

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


class SessionAuthentication(authentication.SessionAuthentication):
    """`request.auth` is the sign-in. A cookie that comes along with a request of a foreign page does not count."""

    def authenticate(self, request: Request) -> tuple[User, SignIn] | None:
        if _is_from_foreign_page(request):
            return None
        authenticated = super().authenticate(request)
        return authenticated and (authenticated[0], request._request.session.sign_in)  # type: ignore[attr-defined]

    def enforce_csrf(self, request: Request) -> None:
        """DRF builds a middleware for each request to find that a safe one needs no token."""
        if request.method not in SAFE_METHODS:
            super().enforce_csrf(request)


def _is_from_foreign_page(request: Request) -> bool:
    """
    SameSite keeps cookies from other sites only: to a sibling domain or another port they go along. Browsers say so
    (Fetch Metadata); those that do not yet name the origin, at least where the foreign page could read the answer.
    """
    if site := request.headers.get("Sec-Fetch-Site"):
        return site not in ("same-origin", "none")
    origin = request.headers.get("Origin")
    own = f"{request.scheme}://{request.get_host()}"
    return origin is not None and origin not in (own, *settings.CSRF_TRUSTED_ORIGINS)
