"""Identifies a leaked token or id: its kind, its sign-in, and whether it is still accepted."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jwt
from django.db.models import Q
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError

from accounts import api_keys
from accounts.admin.search import as_uuid
from accounts.models import SignIn
from api.blocklist.models import Entry, may_be_jti
from api.tokens import AnyToken, RefreshToken

KINDS: dict[str, Promise] = {
    "access": _("an access token"),
    "refresh": _("a refresh token"),
    "key": _("an API key"),
    "sid": _("the id of a sign-in"),
    "jti": _("the id of a token"),
}


@dataclass(frozen=True)
class Leak:
    """An identified token or id. It contains ids only, never the token."""

    kind: str
    verdict: Promise
    is_accepted: bool
    sign_in: SignIn | None = None
    # Of an access token that is still accepted.
    blockable_jti: UUID | None = None

    @property
    def kind_label(self) -> Promise:
        return KINDS[self.kind]

    @property
    def endable_sign_in(self) -> SignIn | None:
        return self.sign_in if self.sign_in and self.sign_in.ended_at is None else None

    def blockable_by(self, staff: Any) -> UUID | None:
        """The token to block; None if this staff member may not manage its user, where that is known."""
        return self.blockable_jti if self.sign_in is None or self.sign_in.user.is_manageable_by(staff) else None


@sensitive_variables()
def identify(found: str) -> Leak | None:
    """`found` is a token, or the id of a token or a sign-in. Returns None if it was not issued here."""
    found = found.strip().removeprefix("Bearer ").strip()
    if found.startswith(api_keys.PREFIX):
        return _identify_key(found)
    found_id = as_uuid(found)
    return _identify_id(found_id) if found_id else _identify_token(found)


def _identify_id(found: UUID) -> Leak | None:
    sign_ins = SignIn.objects.select_related("user")
    if sign_in := sign_ins.filter(pk=found).first():
        if _is_live(sign_in):
            return Leak("sid", _("The sign-in is live. Its tokens are valid."), is_accepted=True, sign_in=sign_in)
        return Leak("sid", _("The sign-in has ended. Its tokens are refused."), is_accepted=False, sign_in=sign_in)
    # Without an index, which every refresh would have to update: a second in millions of rows.
    if sign_in := sign_ins.filter(Q(refresh_id=found) | Q(previous_refresh_id=found)).first():
        return _refresh_token_leak(sign_in, _is_live(sign_in) and sign_in.accepts_refresh(found))
    if Entry.objects.in_force().individual().filter(token_id=found).exists():
        return Leak("jti", _("It is already on the blocklist."), is_accepted=False)
    if not may_be_jti(found):
        return None
    unknown = _(
        "Access tokens are not stored, so the user of this id is not known, nor whether there is a token with it. If "
        "there is one, it is valid until it expires, unless you block it."
    )
    return Leak("jti", unknown, is_accepted=True, blockable_jti=found)


@sensitive_variables()
def _identify_key(found: str) -> Leak | None:
    key = api_keys.read(found.encode(errors="replace"))
    sign_in = key and SignIn.objects.filter(pk=key.sid, key_hash=key.secret_hash).select_related("user").first()
    if not sign_in:
        return None
    if _is_live(sign_in):
        return Leak("key", _("Genuine and valid."), is_accepted=True, sign_in=sign_in)
    return Leak(
        "key", _("Genuine, but expired or ended. It can no longer be used."), is_accepted=False, sign_in=sign_in
    )


def _is_live(sign_in: SignIn) -> bool:
    return sign_in.is_live() and not Entry.objects.blocking(sign_in.sid, sign_in.user_id).exists()


@sensitive_variables()
def _identify_token(found: str) -> Leak | None:
    try:
        token = AnyToken(found)  # type: ignore[arg-type]
    except ExpiredTokenError:
        return _identify_expired(found)
    except TokenError:
        return None
    sign_in = SignIn.objects.filter(pk=token.sid, user=token["sub"]).select_related("user").first()
    is_accepted = _is_accepted(token)
    if token["token_type"] == RefreshToken.token_type:
        return _refresh_token_leak(sign_in, is_accepted)
    if is_accepted:
        return Leak("access", _("Genuine and valid."), is_accepted=True, sign_in=sign_in, blockable_jti=token.jti)
    return Leak("access", _("Genuine, but already refused."), is_accepted=False, sign_in=sign_in)


def _is_accepted(token: AnyToken) -> bool:
    try:
        token.check_not_revoked()
    except TokenError:
        return False
    return True


@sensitive_variables()
def _identify_expired(found: str) -> Leak | None:
    # The signature was verified before the expiry.
    claims: dict[str, Any] = jwt.decode(found, options={"verify_signature": False})
    try:
        sign_ins = SignIn.objects.filter(pk=UUID(claims["sid"]), user=int(claims["sub"]))
        kind = {"access": "access", "refresh": "refresh"}[claims["token_type"]]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return Leak(
        kind,
        _("Genuine, but expired. It can no longer be used."),
        is_accepted=False,
        sign_in=sign_ins.select_related("user").first(),
    )


def _refresh_token_leak(sign_in: SignIn | None, is_accepted: bool) -> Leak:
    if is_accepted:
        return Leak("refresh", _("Genuine and valid."), is_accepted=True, sign_in=sign_in)
    used = _("Genuine, but already used, or its sign-in has ended. It can no longer be used.")
    return Leak("refresh", used, is_accepted=False, sign_in=sign_in)
