"""DPoP proofs: parse and verify them. Sections are those of RFC 9449."""

import hashlib
import re
import time
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote, urlsplit
from uuid import UUID

from django.conf import settings
from django.utils.translation import gettext_lazy as _
from jwt.utils import base64url_encode
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from accounts.http import request_context
from api import proofs
from api.dpop import replay

INVALID_PROOF, USE_NONCE = "invalid_dpop_proof", "use_dpop_nonce"
ALGORITHMS = ("ES256", "EdDSA")
MAX_JTI_LENGTH = 256
URI = re.compile(r"https?://[\x21-\x7e]+", re.IGNORECASE)
DEFAULT_PORTS = {"http": 80, "https": 443}
# The age of a proof by the client's clock, in seconds. With a nonce, that clock is not used.
MAX_AGE_SECONDS = 60


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
        if not proofs.is_compact(raw):
            raise ProofRefused(_("The DPoP proof is not a single JWT."))
        try:
            key = proofs.key_in(proofs.header_of(raw, "dpop+jwt"), ALGORITHMS)
            return cls._from_claims(key.thumbprint, proofs.claims_of(raw, key))
        except proofs.INVALID as error:
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
