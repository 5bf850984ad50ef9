"""The expired token among the examples of the decoder on /compare/."""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from accounts import sids
from accounts.models import Method, SignIn, User
from api.tokens import AccessToken

EXPIRED_FOR = timedelta(minutes=92)
# The largest id that a token can have: no user has it.
USER_ID = 10**18 - 1


def expired_token() -> str:
    """Returns an access token by the key of this server, of a user and a sign-in that do not exist. No statement."""
    expires_at = timezone.now() - EXPIRED_FOR
    issued_at = expires_at - settings.ACCESS_TOKEN
    sign_in = SignIn(
        id=sids.new(issued_at),
        user=User(pk=USER_ID, username="ann"),
        kind=SignIn.Kind.CLIENT,
        created_at=issued_at,
        authenticated_at=issued_at,
        methods=Method.PASSWORD,
        expires_at=expires_at,
        idle_timeout=settings.ACCESS_TOKEN,
    )
    return str(AccessToken.for_sign_in(sign_in, issued_at))
