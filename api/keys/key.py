"""Keys that sign or verify tokens: their algorithms, their formats, and the checks of their strength."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from jwt.algorithms import get_default_algorithms
from jwt.utils import base64url_encode

from api.keys.files import printable, read

MIN_RSA_BITS = 2048
NEW_RSA_BITS = 3072
# RFC 7638, section 3.2; RFC 8037, section 2. These are all members of a public key.
PUBLIC_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}
# A modulus with the ROCA weakness (CVE-2017-15361) is a power of 65537 modulo each of these primes.
ROCA_PRIMES = [p for p in range(3, 168, 2) if all(p % divisor for divisor in range(3, p, 2))]
FIELD_PRIME = 2**255 - 19
# The y coordinates of the eight points whose order is 1, 2, 4 or 8. RFC 8032, section 8.9; Chalkias et al., "Taming the
# many EdDSAs" (2020), table 6.
_OF_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL_ORDER = frozenset({0, 1, FIELD_PRIME - 1, _OF_ORDER_8, FIELD_PRIME - _OF_ORDER_8})


@dataclass(frozen=True)
class Key:
    """A key, used with one algorithm only (RFC 8725, section 3.1)."""

    kid: str
    algorithm: str
    signing: Any = field(repr=False)
    verifying: Any = field(repr=False)

    @classmethod
    def derived_from(cls, secret_key: str) -> Self:
        """An HS256 key derived by HKDF (RFC 5869): it reveals neither SECRET_KEY nor other keys derived from it."""
        secret = _hkdf(secret_key, b"wristband-passport HS256", 32)
        return cls(_hkdf(secret_key, b"wristband-passport kid", 6).hex(), "HS256", secret, secret)

    @classmethod
    def from_pem(cls, path: Path) -> Self:
        """
        Reads a key from a file. Raises Unreadable, and ImproperlyConfigured if it is not a private key of an accepted
        type and size.
        """
        content, name = read(path), printable(path)
        try:
            private = load_pem_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ImproperlyConfigured(f"{name} in JWT_KEYS is not an unencrypted PEM private key.") from error
        algorithm = _algorithm_of(private)
        if algorithm is None:
            raise ImproperlyConfigured(
                f"{name} in JWT_KEYS is none of ES256, EdDSA, or strong RS256 of at least 2048 bits."
            )
        return cls._build(algorithm, private)

    @classmethod
    def generate(cls, algorithm: str) -> Self:
        """A new key whose id does not start with a hyphen, which a command line would read as an option."""
        while (key := cls._build(algorithm, KEY_GENERATORS[algorithm]())).kid.startswith("-"):
            pass
        return key

    @classmethod
    def _build(cls, algorithm: str, private: Any) -> Self:
        public = private.public_key()
        return cls(thumbprint(public_jwk(algorithm, public)), algorithm, private, public)

    @property
    def is_public(self) -> bool:
        """Whether other services can verify with this key."""
        return self.algorithm != "HS256"

    @property
    def jwk(self) -> dict[str, str]:
        """The public key, for other services (RFC 7517)."""
        return public_jwk(self.algorithm, self.verifying) | {"kid": self.kid, "use": "sig", "alg": self.algorithm}

    @property
    def pem(self) -> bytes:
        return self.signing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


KEY_GENERATORS: dict[str, Callable[[], Any]] = {
    "ES256": lambda: generate_private_key(SECP256R1()),
    "EdDSA": Ed25519PrivateKey.generate,
    "RS256": lambda: generate_rsa_key(65537, NEW_RSA_BITS),
}


def _algorithm_of(private: object) -> str | None:
    if isinstance(private, EllipticCurvePrivateKey) and isinstance(private.curve, SECP256R1):
        return "ES256"
    if isinstance(private, RSAPrivateKey) and is_strong_rsa(private.public_key()):
        return "RS256"
    if isinstance(private, Ed25519PrivateKey) and is_valid_ed25519(private.public_key().public_bytes_raw()):
        return "EdDSA"
    return None


def is_strong_rsa(public: RSAPublicKey) -> bool:
    """Whether the key has at least MIN_RSA_BITS, an exponent that is not small, and not the ROCA weakness."""
    numbers = public.public_numbers()
    return public.key_size >= MIN_RSA_BITS and numbers.e >= 65537 and not _has_roca_weakness(numbers.n)


def _has_roca_weakness(modulus: int) -> bool:
    return all(modulus % p in {pow(65537, exponent, p) for exponent in range(p)} for p in ROCA_PRIMES)


def public_jwk(algorithm: str, public: Any) -> dict[str, str]:
    jwk: dict[str, str] = get_default_algorithms()[algorithm].to_jwk(public, as_dict=True)
    return {name: jwk[name] for name in PUBLIC_MEMBERS[jwk["kty"]]}


def thumbprint(jwk: dict[str, str]) -> str:
    canonical = json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()
    return base64url_encode(hashlib.sha256(canonical).digest()).decode()


def _hkdf(secret_key: str, label: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=label).derive(secret_key.encode())


def derived_keys() -> list[Key]:
    """The keys derived from SECRET_KEY and its fallbacks. The last one signs if JWT_KEYS is not set."""
    return [Key.derived_from(secret) for secret in [*reversed(settings.SECRET_KEY_FALLBACKS), settings.SECRET_KEY]]


def is_valid_ed25519(public: bytes) -> bool:
    """Whether these bytes are the canonical encoding of a point (RFC 8032, section 5.1.3) that has no small order."""
    y = int.from_bytes(public, "little") & (2**255 - 1)
    return len(public) == 32 and y < FIELD_PRIME and y not in SMALL_ORDER
