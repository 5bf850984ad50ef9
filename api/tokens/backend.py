"""The SimpleJWT backends that sign tokens and verify them strictly."""

import re
import threading
import time
import uuid
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import jwt
from django.conf import settings
from django.utils.translation import gettext_lazy as _
from jwt.utils import base64url_decode
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenBackendExpiredToken
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.state import token_backend as configured_backend

from api import metrics, strict_json
from api.blocklist.models import may_be_jti
from api.keys import Key, keyring

# RFC 9068, section 2.1, and alike for refresh tokens: no type of token is accepted as another.
HEADER_TYPES = {"access": "at+jwt", "refresh": "rt+jwt"}
MAX_TOKEN_BYTES = 4096
# Each takes about 2 kB of memory.
MAX_CACHED_TOKENS = 10_000
COMPACT_JWS = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
USER_ID = re.compile(r"[1-9][0-9]{0,17}")
# Beyond any lifetime, and still within the range of datetime.
MAX_TIMESTAMP = 2**35


class StrictJWT(jwt.PyJWT):
    """
    PyJWT with a strict JSON parser for the payload. PyJWT's own accepts UTF-16, a byte order mark and duplicate keys,
    and can be replaced only by a private method.
    """

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:
        try:
            payload = strict_json.loads(decoded["payload"])
        except ValueError as error:
            raise jwt.DecodeError("Invalid payload") from error
        if not isinstance(payload, dict):
            raise jwt.DecodeError("Invalid payload")
        return payload


def _decode_header(raw: bytes) -> dict[str, Any]:
    """
    Raises ValueError. PyJWT's get_unverified_header() accepts duplicate keys, and decodes the rest of the token too,
    which takes longer than the check of an HS256 signature.
    """
    header = strict_json.loads(base64url_decode(raw.partition(b".")[0]))
    if not isinstance(header, dict):
        raise ValueError("not an object")
    return header


class StrictTokenBackend(TokenBackend):
    """Signs with the keyring's signing key, and verifies with the key of `kid` and that key's algorithm only."""

    jwt = StrictJWT()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._leeway_seconds = self.get_leeway().total_seconds()
        self._sampler = metrics.Sampler()
        # Of the flushed counts. Taken twice a second, not for each check.
        self._lock = threading.Lock()
        self._clear_cache()
        keyring.on_drop.append(self._clear_cache)

    def _clear_cache(self) -> None:
        """
        Each token is verified once per process; failures are not cached. Replaces the cache instead of clearing it: a
        thread that verifies with a removed key at this moment stores the result in the old cache.
        """
        with self._lock:
            self._cached_claims = lru_cache(maxsize=MAX_CACHED_TOKENS)(self._decode)
            self._flushed_hits = self._flushed_misses = 0

    def _flush_metrics(self) -> None:
        """Adds the hits and misses of the cache since the last flush to the metrics."""
        with self._lock:
            counts = self._cached_claims.cache_info()
            metrics.token_cache_hits.inc(max(0, counts.hits - self._flushed_hits))
            metrics.token_cache_misses.inc(max(0, counts.misses - self._flushed_misses))
            self._flushed_hits, self._flushed_misses = counts.hits, counts.misses

    def encode(self, payload: dict[str, Any]) -> str:
        key = keyring.signing_key
        claims = {"aud": self.audience, **payload, "iss": self.issuer}
        headers = {"kid": key.kid, "typ": HEADER_TYPES[payload[api_settings.TOKEN_TYPE_CLAIM]]}
        return jwt.encode(claims, key.signing, algorithm=key.algorithm, headers=headers)

    def decode(self, token: str | bytes, verify: bool = True) -> dict[str, Any]:
        """Returns the claims. Raises TokenBackendError; TokenBackendExpiredToken if only the expiry is wrong."""
        raw = token.encode(errors="replace") if isinstance(token, str) else token
        if len(raw) > MAX_TOKEN_BYTES:
            raise TokenBackendError(_("Token is invalid"))
        keyring.reload_if_changed()
        if self._sampler.is_due():
            self._flush_metrics()
        claims = self._cached_claims(raw)
        if claims["exp"] + self._leeway_seconds <= time.time():
            raise TokenBackendExpiredToken(_("Token is expired"))
        return claims.copy()

    def _decode(self, raw: bytes) -> dict[str, Any]:
        """The checks of a token whose result does not change with time."""
        if not COMPACT_JWS.fullmatch(raw):
            raise TokenBackendError(_("Token is invalid"))
        try:
            header = _decode_header(raw)
            claims = self._verify(raw, self._get_key(header))
        except jwt.ExpiredSignatureError as error:
            raise TokenBackendExpiredToken(_("Token is expired")) from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise TokenBackendError(_("Token is invalid")) from error
        self._check_claims(header, claims)
        return claims

    @property
    def accepted_audiences(self) -> Iterable[str]:
        """The audiences whose tokens are accepted: only this project's own."""
        return [settings.JWT_AUDIENCE]

    def _get_key(self, header: dict[str, Any]) -> Key:
        kid = header.get("kid")
        key = keyring.by_kid.get(kid) if isinstance(kid, str) else None
        if key is None or "crit" in header:
            raise jwt.InvalidKeyError("Unknown key")
        return key

    def _verify(self, raw: bytes, key: Key) -> dict[str, Any]:
        return self.jwt.decode(
            raw,
            key.verifying,
            algorithms=[key.algorithm],
            issuer=self.issuer,
            audience=list(self.accepted_audiences),
            leeway=self.get_leeway(),
            options={"require": ["exp", "iat", "iss", "aud", "sub", "sid", "jti"]},
        )

    def _check_claims(self, header: dict[str, Any], claims: dict[str, Any]) -> None:
        """Checks the types of claims, which PyJWT does not, so that no later use of a claim fails."""
        token_type = claims.get(api_settings.TOKEN_TYPE_CLAIM)
        well_formed = (
            isinstance(token_type, str)
            and header.get("typ") == HEADER_TYPES.get(token_type)
            and isinstance(claims["aud"], str)
            and all(type(claims[time]) is int and 0 < claims[time] < MAX_TIMESTAMP for time in ("iat", "exp"))
            and isinstance(claims["sub"], str)
            and USER_ID.fullmatch(claims["sub"])
            and _is_uuid(claims["sid"], str)
            and _is_uuid(claims["jti"], lambda jti: may_be_jti(jti) and jti.hex)
            and isinstance(claims.get("username", ""), str)
            and isinstance(claims.get("acr", ""), str)
            and type(claims.get("auth_time", 0)) is int
            and ("cnf" not in claims or _is_key_confirmation(claims["cnf"]))
        )
        if not well_formed:
            raise TokenBackendError(_("Token is invalid"))


class IssuerBackend(StrictTokenBackend):
    """Also accepts tokens issued for other services."""

    @property
    def accepted_audiences(self) -> Iterable[str]:
        return settings.JWT_AUDIENCES


def _is_uuid(claim: object, canonical: Any) -> bool:
    try:
        return isinstance(claim, str) and canonical(uuid.UUID(claim)) == claim
    except ValueError:
        return False


def _is_key_confirmation(claim: object) -> bool:
    return isinstance(claim, dict) and claim.keys() == {"jkt"} and isinstance(claim["jkt"], str) and bool(claim["jkt"])


BACKEND_OPTIONS = {
    "algorithm": configured_backend.algorithm,
    "audience": configured_backend.audience,
    "issuer": configured_backend.issuer,
    "leeway": configured_backend.leeway,
}
