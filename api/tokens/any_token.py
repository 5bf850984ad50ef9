"""Tokens of either kind, for endpoints that accept both."""

from datetime import timedelta

from api.tokens.access import AccessToken, SignInToken
from api.tokens.backend import BACKEND, IssuerBackend
from api.tokens.refresh import RefreshToken


class AnyToken(SignInToken):
    """A genuine token of either kind."""

    token_type = "any"  # noqa: S105
    lifetime = timedelta(0)

    def verify_token_type(self) -> None:
        pass

    @property
    def of_its_kind(self) -> "AccessToken | RefreshToken":
        token = AccessToken() if self["token_type"] == AccessToken.token_type else RefreshToken()
        token.payload = self.payload
        return token

    def check_honoured(self) -> None:
        self.of_its_kind.check_honoured()


class IssuedToken(AnyToken):
    """A genuine token of either kind, whichever service it is for."""

    _token_backend = IssuerBackend(**BACKEND)

    def revoke(self) -> None:
        """Raises TokenError for one that is refused already."""
        self.of_its_kind.revoke()
