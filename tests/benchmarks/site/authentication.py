"""What people build around SimpleJWT to revoke access tokens, as its issues and articles advise."""

from types import SimpleNamespace

from django.core.cache import cache
from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken
from rest_framework_simplejwt.tokens import AccessToken, BlacklistMixin, Token

_ann = SimpleNamespace(pk=1, username="ann", is_authenticated=True)


def ann() -> SimpleNamespace:
    """Who asks where nobody is authenticated."""
    return _ann


class StatelessAndRedis(JWTStatelessUserAuthentication):
    def get_validated_token(self, raw_token: bytes) -> Token:
        token = super().get_validated_token(raw_token)
        if cache.get(f"revoked:{token['jti']}"):
            raise InvalidToken
        return token


class AccessTokenAndBlacklist(BlacklistMixin, AccessToken):
    pass
