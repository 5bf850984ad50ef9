"""Refresh tokens, and the look-up of their sign-in."""

import uuid

from django.db import connection
from django.db.models import Exists
from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt import tokens
from rest_framework_simplejwt.exceptions import TokenError

from accounts.compiled_queries import CompiledQuery
from accounts.models import SignIn, SignInQuerySet
from api.blocklist.models import Entry, blocking_parameters
from api.tokens.access import AccessToken, SignInToken

SIGN_IN_PK = SignIn._meta.pk


def _family(sid: uuid.UUID, user_id: int) -> SignInQuerySet:
    return SignIn.objects.filter(~Exists(Entry.objects.blocking(sid, user_id)), pk=sid)


_family_row = CompiledQuery(lambda: _family(uuid.UUID(int=2), 1).order_by().values_list(*SignIn.columns()))


def find_sign_in(sid: uuid.UUID, user_id: int) -> SignIn | None:
    """
    The sign-in with its user, read from the database; None if it is of another user, or on the blocklist. It may have
    ended: call is_live(). One statement.
    """
    # The first parameter is the constant that EXISTS selects.
    blocking = (1, *blocking_parameters(sid, user_id))
    row = _family_row.first(*blocking, SIGN_IN_PK.get_db_prep_value(sid, connection))
    sign_in = SignIn.from_columns(row) if row else None
    return sign_in if sign_in and sign_in.user_id == user_id else None


class RefreshToken(SignInToken, tokens.RefreshToken):
    """A refresh token, which is valid for one refresh of its sign-in."""

    access_token_class = AccessToken

    @classmethod
    def for_sign_in(cls, sign_in: SignIn) -> "RefreshToken":
        """The current refresh token of a sign-in. Each call returns the same claims."""
        return cls._build(sign_in, sign_in.refresh_id, sign_in.refreshed_at, sign_in.expires_at)

    @property
    def family(self) -> SignInQuerySet:
        """A queryset of the sign-in of the token, empty if it is of another user or was ended wholesale."""
        return _family(self.sid, self.user_id).filter(user=self.user_id)

    def get_sign_in(self) -> SignIn | None:
        """The sign-in of the token; None as in `family`. One statement."""
        return find_sign_in(self.sid, self.user_id)

    def revoke(self) -> None:
        """Ends the sign-in of the token. Raises TokenError if it has ended already."""
        if not self.family.end(SignIn.Reason.SIGNED_OUT):
            raise TokenError(_("Token is blacklisted"))

    def check_not_revoked(self) -> None:
        sign_in = self.get_sign_in()
        if sign_in is None or not sign_in.accepts_refresh(self.jti):
            raise TokenError(_("Token is blacklisted"))
