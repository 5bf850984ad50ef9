"""Access tokens, and the base class of all tokens of a sign-in."""

import json
import uuid
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Self

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt import tokens
from rest_framework_simplejwt.exceptions import AuthenticationFailed, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.utils import datetime_to_epoch

from accounts.models import Method, SecurityEvent, SignIn
from api.blocklist import status_list
from api.blocklist.mirror import mirror
from api.blocklist.models import Entry
from api.keys import keyring
from api.tokens.backend import BACKEND_OPTIONS, HEADER_TYPES, MAX_CACHED_TOKENS, StrictTokenBackend

# Bytes of an access token without `cnf` and `status`. Optional claims that would exceed it are left out.
MAX_BYTES = 499
SIGNATURE_BYTES = {"HS256": 32, "ES256": 64, "EdDSA": 64}
# RFC 8176. `pop` is a proof of possession of a key, which a passkey gives.
AMR = {Method.PASSWORD: "pwd", Method.PASSKEY: "pop", Method.TOTP: "otp", Method.RECOVERY_CODE: "otp"}

# As PyJWT encodes claims: ASCII.
_encoder = json.JSONEncoder(separators=(",", ":"))

# To parse a UUID takes a tenth of the time of the check of a cached token.
_cached_uuid = lru_cache(maxsize=2 * MAX_CACHED_TOKENS)(uuid.UUID)


class SignInEnded(AuthenticationFailed):
    """
    The sign-in of an access token has ended: a refresh cannot help, the user must sign in again. Not a TokenError:
    SimpleJWT's authentication converts those to `token_not_valid`.
    """

    default_detail = "The sign-in has ended. Sign in again."
    default_code = "sign_in_ended"


class SignInToken(tokens.Token):
    """
    The base class of access and refresh tokens, which belong to a sign-in and end with it. Sets SimpleJWT's private
    `_token_backend`: no setting replaces the backend.
    """

    _token_backend = StrictTokenBackend(**BACKEND_OPTIONS)

    def verify(self) -> None:
        # The backend has checked all other claims, including the expiry.
        self.verify_token_type()

    @property
    def sid(self) -> uuid.UUID:
        return _cached_uuid(self.payload["sid"])

    @property
    def jti(self) -> uuid.UUID:
        return _cached_uuid(self.payload["jti"])

    @property
    def user_id(self) -> int:
        return int(self.payload["sub"])

    @property
    def issued_at(self) -> datetime:
        return datetime.fromtimestamp(self.payload["iat"], UTC)

    @property
    def key_thumbprint(self) -> str:
        """The thumbprint of the DPoP key that the token is bound to; empty if it is not bound."""
        confirmation = self.payload.get("cnf")
        return confirmation["jkt"] if confirmation else ""

    def check_not_revoked(self) -> None:
        """Raises TokenError if the token is revoked."""
        raise NotImplementedError

    @classmethod
    def for_user(cls, user: Any) -> Self:
        raise TypeError("A token belongs to a sign-in: use for_sign_in().")

    @classmethod
    def _build(cls, sign_in: SignIn, jti: uuid.UUID, issued_at: datetime, expires_at: datetime) -> Self:
        # Bypasses __init__, which would generate an id and times first.
        token = cls.__new__(cls)
        token.payload = {
            api_settings.TOKEN_TYPE_CLAIM: cls.token_type,
            "sub": str(sign_in.user_id),
            "sid": str(sign_in.sid),
            "jti": jti.hex,
            "iat": datetime_to_epoch(issued_at),
            "exp": datetime_to_epoch(expires_at),
        }
        if sign_in.key_thumbprint:
            # RFC 9449, section 6.1
            token.payload["cnf"] = {"jkt": sign_in.key_thumbprint}
        return token


class AccessToken(SignInToken, tokens.AccessToken):
    """
    An access token, which is valid until it expires, or its id or sign-in is on the blocklist. One of a support sign-in
    has the claim `act`, and is valid only while the staff member may act: that is read from the database each time.
    """

    # The sign-in, with its user, of a token that was checked and has `act`.
    support: SignIn | None = None

    def verify(self) -> None:
        """As check_not_revoked(). Raises SignInEnded if the sign-in has ended, which takes a statement at most."""
        super().verify()
        try:
            self.check_not_revoked()
        except TokenError:
            # The sign-in alone, or all of the user: no token has its id.
            if mirror.blocks(self.sid, self.sid, self.user_id):
                raise SignInEnded from None
            raise

    def check_not_revoked(self) -> None:
        """No statement, or one if the mirror is not current; up to four with `act`. Raises TokenError."""
        if mirror.blocks(self.sid, self.jti, self.user_id):
            raise TokenError(_("Token is blacklisted"))
        if "act" in self.payload:
            self.support = SignIn.objects.filter(pk=self.sid, user=self.user_id).select_related("user").first()
            if self.support is None or not self.support.is_live():
                raise TokenError(_("Token is blacklisted"))

    def revoke(self) -> None:
        """Blocks this token only. Raises TokenError if it was refused already."""
        self.check_not_revoked()
        queryset = SignIn.objects.filter(pk=self.sid, user=self.user_id).select_related("user")
        with transaction.atomic():
            # The lock excludes a deletion of the user meanwhile.
            sign_in = queryset.select_for_update(of=("self",), no_key=True).first()
            if sign_in is None:
                raise TokenError(_("Token is blacklisted"))
            Entry.objects.block_token(self.jti, self.sid)
            SecurityEvent.objects.record(SecurityEvent.Type.TOKEN_REVOKED, sign_in.user, sign_in, jti=self.jti.hex)

    @classmethod
    def for_sign_in(cls, sign_in: SignIn, issued_at: datetime) -> "AccessToken":
        """
        A new access token. `issued_at` is a time before the row of the sign-in was read: if it ends meanwhile, its
        blocklist entry then outlasts the token.
        """
        expires_at = min(issued_at + settings.ACCESS_TOKEN, sign_in.expires_at, sign_in.max_expires_at)
        token = cls._build(sign_in, uuid.uuid4(), issued_at, expires_at)
        if sign_in.audience:
            token["aud"] = sign_in.audience
        if settings.JWT_STATUS_LIST and sign_in.status_index is not None:
            token["status"] = status_list.claim(sign_in.status_index)
        if sign_in.actor_sid:
            # RFC 8693, section 4.1. The user has proved nothing: no auth_time, acr and amr.
            token["act"] = {"sub": str(sign_in.actor_id)}
            if sign_in.is_read_only:
                token["scope"] = "read"
            cls._add_what_fits(token, {"username": sign_in.user.username})
            return token
        # RFC 9470, section 6. Without `acr`, the level is the lowest.
        token["auth_time"] = datetime_to_epoch(sign_in.authenticated_at)
        acr = f"aal{sign_in.level}"
        if sign_in.level > 1:
            token["acr"] = acr
        cls._add_what_fits(token, {"acr": acr, "amr": amr_of(sign_in), "username": sign_in.user.username})
        return token

    @classmethod
    def _add_what_fits(cls, token: Self, claims: dict[str, Any]) -> None:
        """Adds the claims, in this order, with which the token stays under 500 bytes, not counting cnf and status."""
        key = keyring.signing_key
        header = _json_length({"alg": key.algorithm, "kid": key.kid, "typ": HEADER_TYPES[cls.token_type]})
        # RS256 signatures alone have 342 bytes: such a token gets the claims of one by ES256.
        signature = SIGNATURE_BYTES.get(key.algorithm, 64)
        base64_left = MAX_BYTES - 2 - -(-4 * header // 3) - -(-4 * signature // 3)
        others = {name: value for name, value in token.payload.items() if name not in ("cnf", "status")}
        issued = {"aud": settings.JWT_AUDIENCE, "iss": cls._token_backend.issuer} | others
        left = base64_left * 3 // 4 - _json_length(issued)
        for name, claim in claims.items():
            # Without the braces, with a comma.
            length = _json_length({name: claim}) - 1
            if claim and name not in token.payload and length <= left:
                token[name] = claim
                left -= length


def amr_of(sign_in: SignIn) -> list[str]:
    """Returns the claim `amr`: the proved methods (RFC 8176); [] if they are unknown."""
    methods = sign_in.methods.split()
    return list(dict.fromkeys(AMR[Method(each)] for each in methods)) + (["mfa"] if sign_in.level == 2 else [])


def _json_length(content: dict[str, Any]) -> int:
    return len(_encoder.encode(content))
