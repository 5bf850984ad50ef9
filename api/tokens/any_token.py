"""Tokens of either kind, for endpoints that accept both."""

from datetime import timedelta

from api.tokens.access import AccessToken, SignInToken
from api.tokens.backend import BACKEND_OPTIONS, IssuerBackend
from api.tokens.refresh import RefreshToken


class AnyToken(SignInToken):
    """An access or refresh token. Raises TokenError if its signature or claims are invalid."""

    token_type = "any"  # noqa: S105
    lifetime = timedelta(0)

    def verify_token_type(self) -> None:
        pass

    @property
    def as_specific_type(self) -> "AccessToken | RefreshToken":
        token = AccessToken() if self["token_type"] == AccessToken.token_type else RefreshToken()
        token.payload = self.payload
        return token

    def check_not_revoked(self) -> None:
        self.as_specific_type.check_not_revoked()


class IssuedToken(AnyToken):
    """An access or refresh token for any configured audience."""

    _token_backend = IssuerBackend(**BACKEND_OPTIONS)

    def revoke(self) -> None:
        """Revokes an access token, or the sign-in of a refresh token. Raises TokenError if it was refused already."""
        self.as_specific_type.revoke()
