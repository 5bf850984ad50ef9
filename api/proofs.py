"""Proofs of the possession of a private key: what DPoP (RFC 9449) and DBSC (W3C) have in common."""

import re
from collections.abc import Container
from functools import lru_cache
from typing import Any, NamedTuple

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import OKPAlgorithm, get_default_algorithms
from jwt.utils import base64url_decode

from api import strict_json
from api.keys.key import PUBLIC_MEMBERS, is_strong_rsa, is_valid_ed25519, public_jwk, thumbprint
from api.tokens.backend import COMPACT_JWS

# The values of `alg` by type and curve of the key. Ed25519 is EdDSA with that curve (RFC 9864).
ALGORITHMS_BY_KEY_TYPE = {
    ("EC", "P-256"): ("ES256",),
    ("OKP", "Ed25519"): ("EdDSA", "Ed25519"),
    ("RSA", None): ("RS256",),
}
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
MAX_PROOF_BYTES = 2048
# The forms of the members of a key, in base64url: coordinates of 32 bytes, a modulus of up to 4096 bits, an exponent.
COORDINATE = re.compile(r"[A-Za-z0-9_-]{43}")
RSA_NUMBER = re.compile(r"[A-Za-z0-9_-]{2,683}")
MAX_CACHED_KEYS = 1000
# What the functions of this module raise for a proof that is not valid.
INVALID = (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError)

_jws = jwt.PyJWS(algorithms=["ES256", "EdDSA", "RS256"])
_jws.register_algorithm("Ed25519", OKPAlgorithm())


class ProofKey(NamedTuple):
    """A public key, its thumbprint (RFC 7638), and the algorithm of the proof."""

    public: Any
    thumbprint: str
    algorithm: str

    @property
    def jwk(self) -> dict[str, str]:
        return public_jwk(self.algorithm, self.public)


def is_compact(raw: bytes) -> bool:
    """Whether the text is a single JWT of an accepted size. Two header fields arrive as one, joined by a comma."""
    return len(raw) <= MAX_PROOF_BYTES and bool(COMPACT_JWS.fullmatch(raw))


def header_of(raw: bytes, type: str) -> dict[str, Any]:
    """Returns the header of a compact JWT, whose `typ` must be `type`. Raises INVALID."""
    header: dict[str, Any] = strict_json.loads(base64url_decode(raw.partition(b".")[0]))
    if header["typ"] != type or "crit" in header:
        raise ValueError("header")
    return header


def key_in(header: dict[str, Any], algorithms: Container[str]) -> ProofKey:
    """Returns the key in a header whose `alg` is one of `algorithms`. Raises INVALID."""
    jwk = header["jwk"]
    if not isinstance(jwk, dict) or PRIVATE_MEMBERS & jwk.keys():
        raise ValueError("jwk")
    return key_of(jwk, header["alg"], algorithms)


def key_of(jwk: dict[str, Any], algorithm: str, algorithms: Container[str]) -> ProofKey:
    """Returns the key with these members, for `algorithm`, which must be one of `algorithms`. Raises INVALID."""
    kind, curve = jwk["kty"], jwk.get("crv")
    accepted = ALGORITHMS_BY_KEY_TYPE[kind, curve]
    if algorithm not in accepted or accepted[0] not in algorithms:
        raise ValueError("algorithm")
    return ProofKey(*_public_key(kind, curve, *(jwk[name] for name in PUBLIC_MEMBERS[kind])), algorithm)


def claims_of(raw: bytes, key: ProofKey) -> dict[str, Any]:
    """Verifies the signature, and returns the claims. Raises INVALID."""
    claims = strict_json.loads(_jws.decode(raw, key.public, algorithms=[key.algorithm]))
    if not isinstance(claims, dict):
        raise TypeError("claims")
    return claims


@lru_cache(maxsize=MAX_CACHED_KEYS)
def _public_key(kind: str, curve: str | None, *members: str) -> tuple[Any, str]:
    """The key and its thumbprint. Cached: clients use the same key again, and to load a key is slow."""
    jwk = dict(zip(PUBLIC_MEMBERS[kind], members, strict=True))
    form = RSA_NUMBER if kind == "RSA" else COORDINATE
    if not all(form.fullmatch(value) for name, value in jwk.items() if name not in ("crv", "kty")):
        raise ValueError("members")
    algorithm = ALGORITHMS_BY_KEY_TYPE[kind, curve][0]
    public = get_default_algorithms()[algorithm].from_jwk(jwk)
    if isinstance(public, Ed25519PublicKey) and not is_valid_ed25519(public.public_bytes_raw()):
        raise ValueError("point")
    if isinstance(public, RSAPublicKey) and not is_strong_rsa(public):
        raise ValueError("modulus")
    return public, thumbprint(public_jwk(algorithm, public))
