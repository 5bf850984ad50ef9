"""
Ways to revoke SimpleJWT's access tokens that its issues and articles recommend, and the steps from the baseline
to session mode.
"""

from types import SimpleNamespace

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken
from rest_framework_simplejwt.tokens import AccessToken, BlacklistMixin, Token

_ann = SimpleNamespace(pk=1, username="ann", is_authenticated=True)


def ann() -> SimpleNamespace:
    """Returns the user of requests without authentication."""
    return _ann


class StatelessAndRedis(JWTStatelessUserAuthentication):
    def get_validated_token(self, raw_token: bytes) -> Token:
        token = super().get_validated_token(raw_token)
        if cache.get(f"revoked:{token['jti']}"):
            raise InvalidToken
        return token


class AccessTokenAndBlacklist(BlacklistMixin, AccessToken):
    pass


class AnyStatement(BaseAuthentication):
    """The cheapest possible statement."""

    def authenticate(self, request: Request) -> tuple[SimpleNamespace, None]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchone() == (1,)
        return _ann, None


class OwnStatement(BaseAuthentication):
    """The statement of session mode, without the use of its result."""

    def authenticate(self, request: Request) -> tuple[SimpleNamespace, None]:
        # Imported here, since the other sites do not need it.
        from accounts import sessions

        assert sessions.stored_session(request.COOKIES[settings.SESSION_COOKIE_NAME])
        return _ann, None
