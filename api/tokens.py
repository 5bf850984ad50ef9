"""Access and refresh tokens: SimpleJWT's, made for a sign-in, signed and read strictly."""

import re
import time
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Self

import jwt
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists
from django.utils.translation import gettext_lazy as _
from jwt.utils import base64url_decode
from rest_framework_simplejwt import tokens
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenBackendExpiredToken, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.state import token_backend as configured
from rest_framework_simplejwt.utils import datetime_to_epoch

from accounts.models import SecurityEvent, SignIn, SignInQuerySet
from accounts.rows import CompiledQuery
from api import metrics, strict_json
from api.blocklist import status_list
from api.blocklist.mirror import mirror
from api.blocklist.models import Entry, blocking_parameters, is_jti
from api.keys import Key, keyring

# RFC 9068, section 2.1, and its like: no kind of token passes for another.
HEADER_TYPES = {"access": "at+jwt", "refresh": "rt+jwt"}
MAX_LENGTH = 4096
# Some 2 kB each in memory.
VERIFIED_TOKENS = 10_000
COMPACT_FORM = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
USER_ID = re.compile(r"[1-9][0-9]{0,17}")
# Far beyond any lifetime, and still a date.
LATEST_TIME = 2**35
# For issuer, audience and username. Longer names stay out: an access token is to stay under 500 bytes, with ES256 too.
NAMES_MAX_LENGTH = 28


class StrictJWT(jwt.PyJWT):
    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:
        """PyJWT's own takes UTF-16, a byte order mark and duplicate keys."""
        try:
            payload = strict_json.loads(decoded["payload"])
        except ValueError as error:
            raise jwt.DecodeError("Invalid payload") from error
        if not isinstance(payload, dict):
            raise jwt.DecodeError("Invalid payload")
        return payload


def _header_of(raw: bytes) -> dict[str, Any]:
    """
    Raises ValueError. PyJWT's own takes duplicate keys, and decodes the rest of the token too, which takes longer than
    to check an HS256 signature.
    """
    header = strict_json.loads(base64url_decode(raw.partition(b".")[0]))
    if not isinstance(header, dict):
        raise ValueError("not an object")
    return header


class StrictTokenBackend(TokenBackend):
    """Signs with the ring's signing key; each key is good for one algorithm, and a header chooses neither."""

    jwt = StrictJWT()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._leeway_seconds = self.get_leeway().total_seconds()
        self._hits = self._misses = 0
        self._sampler = metrics.Sampler()
        self._forget()
        keyring.on_drop.append(self._forget)

    def _forget(self) -> None:
        """
        A signature is checked once per process. Least recently used first out; failures are not held. Not emptied but
        replaced: what is being verified just now with a key that was dropped ends up in the old one.
        """
        self._claims_of = lru_cache(maxsize=VERIFIED_TOKENS)(self._read)
        self._hits = self._misses = 0

    def _flush_metrics(self) -> None:
        """Adds what the cache has counted since the last flush."""
        cached = self._claims_of.cache_info()
        metrics.known_tokens.inc(max(0, cached.hits - self._hits))
        metrics.new_tokens.inc(max(0, cached.misses - self._misses))
        self._hits, self._misses = cached.hits, cached.misses

    def encode(self, payload: dict[str, Any]) -> str:
        key = keyring.signing_key
        claims = {"aud": self.audience, **payload, "iss": self.issuer}
        headers = {"kid": key.kid, "typ": HEADER_TYPES[payload[api_settings.TOKEN_TYPE_CLAIM]]}
        return jwt.encode(claims, key.signing, algorithm=key.algorithm, headers=headers)

    def decode(self, token: str | bytes, verify: bool = True) -> dict[str, Any]:
        """Raises TokenBackendError, or TokenBackendExpiredToken for a genuine token after its time."""
        raw = token.encode(errors="replace") if isinstance(token, str) else token
        if len(raw) > MAX_LENGTH:
            raise TokenBackendError(_("Token is invalid"))
        keyring.look()
        if self._sampler.is_due():
            self._flush_metrics()
        claims = self._claims_of(raw)
        if claims["exp"] + self._leeway_seconds <= time.time():
            raise TokenBackendExpiredToken(_("Token is expired"))
        return claims.copy()

    def _read(self, raw: bytes) -> dict[str, Any]:
        """All checks of a token that do not change with time."""
        if not COMPACT_FORM.fullmatch(raw):
            raise TokenBackendError(_("Token is invalid"))
        try:
            header = _header_of(raw)
            claims = self._verified(raw, self._key_of(header))
        except jwt.ExpiredSignatureError as error:
            raise TokenBackendExpiredToken(_("Token is expired")) from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise TokenBackendError(_("Token is invalid")) from error
        self._check_claims(header, claims)
        return claims

    @property
    def audiences(self) -> Iterable[str]:
        """Whose tokens are taken here: our own."""
        return [settings.JWT_AUDIENCE]

    def _key_of(self, header: dict[str, Any]) -> Key:
        kid = header.get("kid")
        key = keyring.by_kid.get(kid) if isinstance(kid, str) else None
        if key is None or "crit" in header:
            raise jwt.InvalidKeyError("Unknown key")
        return key

    def _verified(self, raw: bytes, key: Key) -> dict[str, Any]:
        return self.jwt.decode(
            raw,
            key.verifying,
            algorithms=[key.algorithm],
            issuer=self.issuer,
            audience=list(self.audiences),
            leeway=self.get_leeway(),
            options={"require": ["exp", "iat", "iss", "aud", "sub", "sid", "jti"]},
        )

    def _check_claims(self, header: dict[str, Any], claims: dict[str, Any]) -> None:
        """The types that PyJWT leaves open: what is built on a claim later must not fail on it."""
        token_type = claims.get(api_settings.TOKEN_TYPE_CLAIM)
        well_formed = (
            isinstance(token_type, str)
            and header.get("typ") == HEADER_TYPES.get(token_type)
            and isinstance(claims["aud"], str)
            and all(type(claims[time]) is int and 0 < claims[time] < LATEST_TIME for time in ("iat", "exp"))
            and isinstance(claims["sub"], str)
            and USER_ID.fullmatch(claims["sub"])
            and _is_uuid(claims["sid"], str)
            and _is_uuid(claims["jti"], lambda jti: is_jti(jti) and jti.hex)
            and isinstance(claims.get("username", ""), str)
            and ("cnf" not in claims or _is_confirmation(claims["cnf"]))
        )
        if not well_formed:
            raise TokenBackendError(_("Token is invalid"))


class IssuerBackend(StrictTokenBackend):
    """Takes what we made for other services, too."""

    @property
    def audiences(self) -> Iterable[str]:
        return settings.JWT_AUDIENCES


# To build one costs a tenth of the whole check of a token that was seen before.
_uuid = lru_cache(maxsize=2 * VERIFIED_TOKENS)(uuid.UUID)


def _is_uuid(claim: object, form: Any) -> bool:
    try:
        return isinstance(claim, str) and form(uuid.UUID(claim)) == claim
    except ValueError:
        return False


def _is_confirmation(claim: object) -> bool:
    return isinstance(claim, dict) and claim.keys() == {"jkt"} and isinstance(claim["jkt"], str) and bool(claim["jkt"])


BACKEND = {
    "algorithm": configured.algorithm,
    "audience": configured.audience,
    "issuer": configured.issuer,
    "leeway": configured.leeway,
}


class SignInToken(tokens.Token):
    """What access and refresh tokens have in common: they belong to a sign-in, and die with it."""

    _token_backend = StrictTokenBackend(**BACKEND)

    def verify(self) -> None:
        # The backend has checked the rest, the time among it.
        self.verify_token_type()

    @property
    def sid(self) -> uuid.UUID:
        return _uuid(self.payload["sid"])

    @property
    def jti(self) -> uuid.UUID:
        return _uuid(self.payload["jti"])

    @property
    def user_id(self) -> int:
        return int(self.payload["sub"])

    @property
    def bound_to(self) -> str:
        """The thumbprint of the key that whoever shows it must hold; empty if it needs none."""
        confirmation = self.payload.get("cnf")
        return confirmation["jkt"] if confirmation else ""

    def check_honoured(self) -> None:
        """Raises TokenError for a genuine token that is refused all the same."""
        raise NotImplementedError

    @classmethod
    def for_user(cls, user: Any) -> Self:
        raise TypeError("A token belongs to a sign-in: use for_sign_in().")

    @classmethod
    def _of(cls, sign_in: SignIn, jti: uuid.UUID, issued_at: datetime, expires_at: datetime) -> Self:
        # Not by __init__, which makes up an id and the times first.
        token = cls.__new__(cls)
        token.payload = {
            api_settings.TOKEN_TYPE_CLAIM: cls.token_type,
            "sub": str(sign_in.user_id),
            "sid": str(sign_in.sid),
            "jti": jti.hex,
            "iat": datetime_to_epoch(issued_at),
            "exp": datetime_to_epoch(expires_at),
        }
        if sign_in.bound_to:
            # RFC 9449, section 6.1
            token.payload["cnf"] = {"jkt": sign_in.bound_to}
        return token


class AccessToken(SignInToken, tokens.AccessToken):
    def verify(self) -> None:
        super().verify()
        self.check_honoured()

    def check_honoured(self) -> None:
        if mirror.blocks(self.sid, self.jti, self.user_id):
            raise TokenError(_("Token is blacklisted"))

    def revoke(self) -> None:
        """It alone. Raises TokenError if it was refused before."""
        self.check_honoured()
        own = SignIn.objects.filter(pk=self.sid, user=self.user_id).select_related("user")
        with transaction.atomic():
            # Held, so that whoever deletes the user comes before or after.
            sign_in = own.select_for_update(of=("self",), no_key=True).first()
            if sign_in is None:
                raise TokenError(_("Token is blacklisted"))
            Entry.objects.block_token(self.jti, self.sid)
            SecurityEvent.objects.record(SecurityEvent.Type.TOKEN_REVOKED, sign_in.user, sign_in, jti=self.jti.hex)

    @classmethod
    def for_sign_in(cls, sign_in: SignIn, issued_at: datetime) -> "AccessToken":
        """
        `issued_at` is a moment before the sign-in was last known to be live: if it ends while this runs, its entry
        in the blocklist outlasts the token.
        """
        expires_at = min(issued_at + settings.ACCESS_TOKEN, sign_in.latest_end)
        token = cls._of(sign_in, uuid.uuid4(), issued_at, expires_at)
        if sign_in.audience:
            token["aud"] = sign_in.audience
        if settings.JWT_STATUS_LIST and sign_in.status_index is not None:
            token["status"] = status_list.claim(sign_in.status_index)
        username = sign_in.user.username
        if len(f"{cls._token_backend.issuer}{sign_in.audience or settings.JWT_AUDIENCE}{username}") <= NAMES_MAX_LENGTH:
            token["username"] = username
        return token


SID = SignIn._meta.pk


def _family(sid: uuid.UUID, user_id: int) -> SignInQuerySet:
    return SignIn.objects.filter(~Exists(Entry.objects.blocking(sid, user_id)), pk=sid)


_family_row = CompiledQuery(lambda: _family(uuid.UUID(int=2), 1).order_by().values_list(*SignIn.columns()))


class RefreshToken(SignInToken, tokens.RefreshToken):
    access_token_class = AccessToken

    @classmethod
    def for_sign_in(cls, sign_in: SignIn) -> "RefreshToken":
        """The current one: every call makes the same token."""
        return cls._of(sign_in, sign_in.refresh_id, sign_in.refreshed_at, sign_in.expires_at)

    @property
    def family(self) -> SignInQuerySet:
        """The sign-in it claims to belong to, if it is its user's, and was not ended wholesale."""
        return _family(self.sid, self.user_id).filter(user=self.user_id)

    def sign_in(self) -> SignIn | None:
        """The only one of its family, with its user. One statement."""
        # The first one is the constant that EXISTS selects.
        blocking = (1, *blocking_parameters(self.sid, self.user_id))
        row = _family_row.first(*blocking, SID.get_db_prep_value(self.sid, connection))
        sign_in = SignIn.from_columns(row) if row else None
        return sign_in if sign_in and sign_in.user_id == self.user_id else None

    def revoke(self) -> None:
        """Its whole sign-in. Raises TokenError if that had ended before."""
        if not self.family.end(SignIn.Reason.SIGNED_OUT):
            raise TokenError(_("Token is blacklisted"))

    def check_honoured(self) -> None:
        sign_in = self.sign_in()
        if sign_in is None or not sign_in.accepts_refresh(self.jti):
            raise TokenError(_("Token is blacklisted"))


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
