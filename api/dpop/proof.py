"""DPoP proofs: parse and verify them. Sections are those of RFC 9449."""

import hashlib
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self
from urllib.parse import unquote, urlsplit
from uuid import UUID

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings
from django.utils.translation import gettext_lazy as _
from jwt.algorithms import OKPAlgorithm, get_default_algorithms
from jwt.utils import base64url_decode, base64url_encode
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from accounts.http import request_context
from api import strict_json
from api.dpop import replay
from api.keys.key import PUBLIC_MEMBERS, is_valid_ed25519, public_jwk, thumbprint
from api.tokens.backend import COMPACT_JWS

INVALID_PROOF, USE_NONCE = "invalid_dpop_proof", "use_dpop_nonce"
ALGORITHMS = ("ES256", "EdDSA")
# The values of `alg` by type and curve of the key. Ed25519 is EdDSA with that curve (RFC 9864).
ALGORITHMS_BY_KEY_TYPE = {("EC", "P-256"): ("ES256",), ("OKP", "Ed25519"): ("EdDSA", "Ed25519")}
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
MAX_PROOF_BYTES = 2048
MAX_JTI_LENGTH = 256
COORDINATE = re.compile(r"[A-Za-z0-9_-]{43}")
URI = re.compile(r"https?://[\x21-\x7e]+", re.IGNORECASE)
DEFAULT_PORTS = {"http": 80, "https": 443}
# The age of a proof by the client's clock, in seconds. With a nonce, that clock is not used.
MAX_AGE_SECONDS = 60
MAX_CACHED_KEYS = 1000

_jws = jwt.PyJWS(algorithms=list(ALGORITHMS))
_jws.register_algorithm("Ed25519", OKPAlgorithm())


class ProofRefused(APIException):
    """Status 400 at the token endpoints (section 5), 401 for a request with an access token (section 7.1)."""

    status_code: int = status.HTTP_400_BAD_REQUEST

    def __init__(self, detail: Any, error: str = INVALID_PROOF, nonce: str = "") -> None:
        super().__init__(detail, error)
        self.error = error
        self.nonce = nonce


def challenge(error: str = "") -> str:
    """The challenge for the header WWW-Authenticate (section 7.1)."""
    names = f'algs="{" ".join(ALGORITHMS)}"'
    return f'DPoP error="{error}", {names}' if error else f"DPoP {names}"


def has_proof(request: Request) -> bool:
    return "HTTP_DPOP" in request.META


def verify_proof(request: Request, access_token: bytes | None = None, key_thumbprint: str = "") -> str:
    """
    Verifies the request's proof, records it as used, and returns the thumbprint of its key, which must be
    `key_thumbprint` if given. `access_token` is the token of the request, if it has one. Raises ProofRefused.
    """
    if not has_proof(request):
        raise ProofRefused(_("A DPoP proof is needed."))
    proof = Proof.parse(request.META["HTTP_DPOP"])
    if not proof.matches(request, access_token):
        raise ProofRefused(_("The DPoP proof is not for this request."))
    if key_thumbprint not in ("", proof.thumbprint):
        raise ProofRefused(_("The DPoP proof is of another key than the token."))
    try:
        replay.consume(proof.id, proof.nonce, proof.is_recent())
    except replay.AlreadyUsed:
        raise ProofRefused(_("The DPoP proof was used before.")) from None
    except replay.NonceRequired as required:
        raise ProofRefused(_("The DPoP proof needs our nonce."), USE_NONCE, required.nonce) from None
    return proof.thumbprint


@dataclass(frozen=True)
class Proof:
    """The claims of a proof with a valid signature, and the thumbprint of its key."""

    thumbprint: str
    jti: str
    method: str
    uri: str
    issued_at: int
    nonce: str | None
    access_hash: str | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Checks 1 to 7 of section 4.3. Raises ProofRefused."""
        raw = text.encode(errors="replace")
        # Two header fields arrive as one, joined by a comma.
        if len(raw) > MAX_PROOF_BYTES or not COMPACT_JWS.fullmatch(raw):
            raise ProofRefused(_("The DPoP proof is not a single JWT."))
        try:
            header = strict_json.loads(base64url_decode(raw.partition(b".")[0]))
            public, key_thumbprint, algorithm = _key_from_header(header)
            claims = strict_json.loads(_jws.decode(raw, public, algorithms=[algorithm]))
            return cls._from_claims(key_thumbprint, claims)
        except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError) as error:
            raise ProofRefused(_("The DPoP proof is not valid.")) from error

    @classmethod
    def _from_claims(cls, thumbprint: str, claims: dict[str, Any]) -> Self:
        jti, method, uri, issued_at = (claims[name] for name in ("jti", "htm", "htu", "iat"))
        proof = cls(thumbprint, jti, method, uri, issued_at, claims.get("nonce"), claims.get("ath"))
        texts = [proof.jti, proof.method, proof.uri, proof.nonce or "", proof.access_hash or ""]
        if not all(isinstance(each, str) for each in texts) or type(proof.issued_at) is not int:
            raise TypeError("wrong type of claim")
        if not 0 < len(proof.jti) <= MAX_JTI_LENGTH:
            raise ValueError("size of jti")
        return proof

    @property
    def id(self) -> UUID:
        """A hash of the key and the jti: two clients may use the same jti."""
        # A JSON text may contain lone surrogates, which UTF-8 cannot encode.
        text = f"{self.thumbprint} {self.jti}".encode(errors="surrogatepass")
        return UUID(bytes=hashlib.sha256(text).digest()[:16])

    def matches(self, request: Request, access_token: bytes | None) -> bool:
        """Checks 8, 9 and 12 of section 4.3: method, URI and access token."""
        requested = request_context.requested_url(request)
        return (
            self.method == request.method
            and (self.uri == requested or _normalised_uri(self.uri) == _normalised_uri(requested))
            and (access_token is None or self.access_hash == _access_hash(access_token))
        )

    def is_recent(self) -> bool:
        """Check 11 of section 4.3, for a proof without a nonce."""
        age = time.time() - self.issued_at
        return -settings.JWT_LEEWAY.total_seconds() <= age <= MAX_AGE_SECONDS


def _access_hash(access_token: bytes) -> str:
    return base64url_encode(hashlib.sha256(access_token).digest()).decode()


def _key_from_header(header: dict[str, Any]) -> tuple[Any, str, str]:
    """The public key, its thumbprint, and its algorithm (checks 4, 5 and 7). Raises ValueError, KeyError and more."""
    jwk, algorithm = header["jwk"], header["alg"]
    if header["typ"] != "dpop+jwt" or "crit" in header or not isinstance(jwk, dict) or PRIVATE_MEMBERS & jwk.keys():
        raise ValueError("header")
    if algorithm not in ALGORITHMS_BY_KEY_TYPE[jwk["kty"], jwk["crv"]]:
        raise ValueError("algorithm")
    return *_public_key(*(jwk[member] for member in PUBLIC_MEMBERS[jwk["kty"]])), algorithm


@lru_cache(maxsize=MAX_CACHED_KEYS)
def _public_key(curve: str, kind: str, *coordinates: str) -> tuple[Any, str]:
    """The key and its thumbprint. Cached: clients use the same key again, and to load a key is slow."""
    if not all(COORDINATE.fullmatch(each) for each in coordinates):
        raise ValueError("coordinates")
    algorithm = ALGORITHMS_BY_KEY_TYPE[kind, curve][0]
    jwk = dict(zip(PUBLIC_MEMBERS[kind], (curve, kind, *coordinates), strict=True))
    public = get_default_algorithms()[algorithm].from_jwk(jwk)
    if isinstance(public, Ed25519PublicKey) and not is_valid_ed25519(public.public_bytes_raw()):
        raise ValueError("point")
    return public, thumbprint(public_jwk(algorithm, public))


def _normalised_uri(uri: str) -> object:
    """A URI without query and fragment, normalised (RFC 3986, section 6.2); None if it is invalid."""
    if not URI.fullmatch(uri):
        return None
    try:
        parts = urlsplit(uri)
        port = parts.port or DEFAULT_PORTS[parts.scheme]
    except ValueError:
        return None
    if "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port, unquote(parts.path) or "/"
