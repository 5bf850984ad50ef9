"""Refresh tokens of the site before, made by SimpleJWT: verified with its key, and exchanged once for ours."""

from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.conf import settings
from django.utils.crypto import constant_time_compare

from accounts.models import MovedInUser
from accounts.moving_in import continuing
from api.tokens.backend import COMPACT_JWS, MAX_TIMESTAMP, MAX_TOKEN_BYTES, StrictJWT

PEM = "-----BEGIN"
# SimpleJWT's own names; some sites use the registered one (RFC 7519) instead.
USER_CLAIMS = ("user_id", "sub")
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_jwt = StrictJWT()


class LegacyToken(NamedTuple):
    """A refresh token whose signature, type and expiry are verified. `credential` is the id of its use."""

    credential: UUID
    user_id: str
    expires_at: datetime
    password_claim: str


def is_on() -> bool:
    """Returns whether tokens of the site before are taken now."""
    return bool(settings.LEGACY_JWT_KEY) and continuing.is_active(settings.LEGACY_JWT_UNTIL)


def read(raw: str) -> LegacyToken | None:
    """Returns the token; None for any other text, and for a token that is not valid. No statement."""
    if not is_on() or len(raw) > MAX_TOKEN_BYTES or not COMPACT_JWS.fullmatch(raw.encode(errors="replace")):
        return None
    try:
        return _as_legacy_token(_verified(raw))
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
        return None


def owner_of(token: LegacyToken) -> MovedInUser | None:
    """
    Returns the row of the user who moved in and has the token; None if there is none, or the token is of another
    password than was imported. One statement.
    """
    owner = continuing.owner_of(token.user_id)
    if owner is None or owner.sign_in_id is None:
        return None
    if token.password_claim and not constant_time_compare(
        continuing.password_digest(token.password_claim), owner.token_hash
    ):
        return None
    return owner


def _verified(raw: str) -> dict[str, Any]:
    """The claims of a refresh token. Raises PyJWTError, ValueError and TypeError."""
    if "crit" in jwt.get_unverified_header(raw):
        raise ValueError("unknown extension")
    key, algorithms = _key(settings.LEGACY_JWT_KEY)
    claims = _jwt.decode(
        raw,
        key,
        algorithms=algorithms,
        leeway=settings.JWT_LEEWAY,
        options={"require": ["exp", "jti", "token_type"], "verify_aud": False, "verify_iss": False},
    )
    # A session cookie or another service may be signed with the same key: only this type is a refresh token.
    if claims["token_type"] != "refresh":  # noqa: S105
        raise ValueError("not a refresh token")
    return claims


def _as_legacy_token(claims: dict[str, Any]) -> LegacyToken:
    user_id = next((claims[name] for name in USER_CLAIMS if name in claims), None)
    jti, exp, password_claim = claims["jti"], claims["exp"], claims.get("hash_password", "")
    if type(user_id) not in (int, str) or not isinstance(jti, str) or not jti or not isinstance(password_claim, str):
        raise ValueError("wrong type of a claim")
    if type(exp) is not int or exp >= MAX_TIMESTAMP:
        raise ValueError("wrong expiry")
    expires_at = datetime.fromtimestamp(exp, UTC) + settings.JWT_LEEWAY
    return LegacyToken(continuing.id_of("jti", jti), str(user_id), expires_at, password_claim)


def _key(text: str) -> tuple[Any, list[str]]:
    """The key, and the algorithms of its type: no key is used with the algorithm of another type."""
    if not text.startswith(PEM):
        return text, ["HS256"]
    key = load_pem_public_key(text.encode())
    if isinstance(key, rsa.RSAPublicKey):
        return key, ["RS256", "RS384", "RS512"]
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key, [CURVES[key.curve.name]]
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key, ["EdDSA"]
    raise ValueError("a key of an unknown type")
