"""Proof that a client holds the key that its tokens are bound to: DPoP. Sections are those of RFC 9449."""

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

from accounts import origin
from api import strict_json
from api.dpop import replay
from api.keys.key import PUBLIC_MEMBERS, is_sound_ed25519, public_jwk, thumbprint
from api.tokens.backend import COMPACT_FORM

INVALID_PROOF, USE_NONCE = "invalid_dpop_proof", "use_dpop_nonce"
ALGORITHMS = ("ES256", "EdDSA")
# By type and curve of the key: what its `alg` may be. Ed25519 is the name of EdDSA with that curve (RFC 9864).
ALGORITHMS_OF = {("EC", "P-256"): ("ES256",), ("OKP", "Ed25519"): ("EdDSA", "Ed25519")}
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
MAX_LENGTH = 2048
ID_MAX_LENGTH = 256
COORDINATE = re.compile(r"[A-Za-z0-9_-]{43}")
URI = re.compile(r"https?://[\x21-\x7e]+", re.IGNORECASE)
DEFAULT_PORTS = {"http": 80, "https": 443}
# By the client's clock, in seconds. Where that is wrong, our nonce tells the time instead.
MAX_AGE = 60
KEYS_KEPT = 1000

_jws = jwt.PyJWS(algorithms=list(ALGORITHMS))
_jws.register_algorithm("Ed25519", OKPAlgorithm())


class ProofRefused(APIException):
    """400 where tokens are asked for (section 5); 401 where one is presented (section 7.1)."""

    status_code: int = status.HTTP_400_BAD_REQUEST

    def __init__(self, detail: Any, error: str = INVALID_PROOF, nonce: str = "") -> None:
        super().__init__(detail, error)
        self.error = error
        self.nonce = nonce


def challenge(error: str = "") -> str:
    """For WWW-Authenticate."""
    names = f'algs="{" ".join(ALGORITHMS)}"'
    return f'DPoP error="{error}", {names}' if error else f"DPoP {names}"


def is_offered(request: Request) -> bool:
    return "HTTP_DPOP" in request.META


def proven_key(request: Request, access: bytes | None = None, bound_to: str = "") -> str:
    """
    The thumbprint of the key that the request's proof, which is used up by this, was made with: that one, if `bound_to`
    is given. `access` is the token presented with it. Raises ProofRefused.
    """
    if not is_offered(request):
        raise ProofRefused(_("A DPoP proof is needed."))
    proof = Proof.read(request.META["HTTP_DPOP"])
    if not proof.is_for(request, access):
        raise ProofRefused(_("The DPoP proof is not for this request."))
    if bound_to not in ("", proof.thumbprint):
        raise ProofRefused(_("The DPoP proof is of another key than the token."))
    try:
        replay.use(proof.id, proof.nonce, proof.is_fresh())
    except replay.AlreadyUsed:
        raise ProofRefused(_("The DPoP proof was used before.")) from None
    except replay.NonceWanted as wanted:
        raise ProofRefused(_("The DPoP proof needs our nonce."), USE_NONCE, wanted.nonce) from None
    return proof.thumbprint


@dataclass(frozen=True)
class Proof:
    thumbprint: str
    jti: str
    method: str
    uri: str
    made_at: int
    nonce: str | None
    access_hash: str | None

    @classmethod
    def read(cls, header: str) -> Self:
        """What a genuine one says (section 4.3, checks 1 to 7). Raises ProofRefused."""
        raw = header.encode(errors="replace")
        # Two header fields arrive as one, with a comma.
        if len(raw) > MAX_LENGTH or not COMPACT_FORM.fullmatch(raw):
            raise ProofRefused(_("The DPoP proof is not a single JWT."))
        try:
            public, name, algorithm = _key_in(strict_json.loads(base64url_decode(raw.partition(b".")[0])))
            claims = strict_json.loads(_jws.decode(raw, public, algorithms=[algorithm]))
            return cls._of(name, claims)
        except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError) as error:
            raise ProofRefused(_("The DPoP proof is not valid.")) from error

    @classmethod
    def _of(cls, name: str, claims: dict[str, Any]) -> Self:
        proof = cls(
            name, claims["jti"], claims["htm"], claims["htu"], claims["iat"], claims.get("nonce"), claims.get("ath")
        )
        texts = [proof.jti, proof.method, proof.uri, proof.nonce or "", proof.access_hash or ""]
        if not all(isinstance(each, str) for each in texts) or type(proof.made_at) is not int:
            raise TypeError("wrong type of claim")
        if not 0 < len(proof.jti) <= ID_MAX_LENGTH:
            raise ValueError("size of jti")
        return proof

    @property
    def id(self) -> UUID:
        """Of this proof and no other client's."""
        # Both are JSON texts with escapes for lone surrogates, which have no bytes of their own.
        told = f"{self.thumbprint} {self.jti}".encode(errors="surrogatepass")
        return UUID(bytes=hashlib.sha256(told).digest()[:16])

    def is_for(self, request: Request, access: bytes | None) -> bool:
        """Checks 8, 9 and 12."""
        own = origin.requested_url(request)
        return (
            self.method == request.method
            and (self.uri == own or _place(self.uri) == _place(own))
            and (access is None or self.access_hash == base64url_encode(hashlib.sha256(access).digest()).decode())
        )

    def is_fresh(self) -> bool:
        """Check 11, where there is no nonce."""
        age = time.time() - self.made_at
        return -settings.JWT_LEEWAY.total_seconds() <= age <= MAX_AGE


def _key_in(header: dict[str, Any]) -> tuple[Any, str, str]:
    """The public key, its thumbprint, and its algorithm (checks 4, 5 and 7). Raises ValueError, KeyError and more."""
    jwk, algorithm = header["jwk"], header["alg"]
    if header["typ"] != "dpop+jwt" or "crit" in header or not isinstance(jwk, dict) or PRIVATE_MEMBERS & jwk.keys():
        raise ValueError("header")
    if algorithm not in ALGORITHMS_OF[jwk["kty"], jwk["crv"]]:
        raise ValueError("algorithm")
    return *_public_key(*(jwk[member] for member in PUBLIC_MEMBERS[jwk["kty"]])), algorithm


@lru_cache(maxsize=KEYS_KEPT)
def _public_key(curve: str, kind: str, *coordinates: str) -> tuple[Any, str]:
    """With its thumbprint. Clients come back with the same key, and to load one takes long."""
    if not all(COORDINATE.fullmatch(each) for each in coordinates):
        raise ValueError("coordinates")
    algorithm = ALGORITHMS_OF[kind, curve][0]
    jwk = dict(zip(PUBLIC_MEMBERS[kind], (curve, kind, *coordinates), strict=True))
    public = get_default_algorithms()[algorithm].from_jwk(jwk)
    if isinstance(public, Ed25519PublicKey) and not is_sound_ed25519(public.public_bytes_raw()):
        raise ValueError("point")
    return public, thumbprint(public_jwk(algorithm, public))


def _place(uri: str) -> object:
    """An address without query and fragment, normalised (RFC 3986, section 6.2); None if it is none."""
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
