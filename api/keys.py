"""The keys that sign tokens."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from jwt.algorithms import get_default_algorithms
from jwt.utils import base64url_encode

RSA_MIN_BITS = 2048
# RFC 7638, section 3.2; RFC 8037, section 2
THUMBPRINT_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}


@dataclass(frozen=True)
class Key:
    """One key, one algorithm (RFC 8725, section 3.1)."""

    kid: str
    algorithm: str
    signing: Any = field(repr=False)
    verifying: Any = field(repr=False)

    @classmethod
    def derived_from(cls, secret_key: str) -> "Key":
        """An HS256 key that tells nothing of SECRET_KEY or of what else is derived from it (RFC 5869)."""
        secret = _hkdf(secret_key, b"wristband-passport HS256", 32)
        return cls(_hkdf(secret_key, b"wristband-passport kid", 6).hex(), "HS256", secret, secret)

    @classmethod
    def from_pem(cls, path: Path) -> "Key":
        """Raises ImproperlyConfigured for a file that is not a private key of a kind and size that will do."""
        try:
            private = load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError) as error:
            raise ImproperlyConfigured(f"{path.name} in JWT_KEYS is not an unencrypted PEM private key.") from error
        algorithm = _algorithm_of(private)
        if algorithm is None:
            raise ImproperlyConfigured(f"{path.name} in JWT_KEYS is none of ES256, EdDSA, or RS256 with 2048 bits.")
        public = private.public_key()
        return cls(_thumbprint(algorithm, public), algorithm, private, public)


def _algorithm_of(private: object) -> str | None:
    if isinstance(private, EllipticCurvePrivateKey) and isinstance(private.curve, SECP256R1):
        return "ES256"
    if isinstance(private, RSAPrivateKey) and private.key_size >= RSA_MIN_BITS:
        return "RS256"
    return "EdDSA" if isinstance(private, Ed25519PrivateKey) else None


def _thumbprint(algorithm: str, public: Any) -> str:
    jwk: dict[str, str] = get_default_algorithms()[algorithm].to_jwk(public, as_dict=True)
    members = {name: jwk[name] for name in THUMBPRINT_MEMBERS[jwk["kty"]]}
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    return base64url_encode(hashlib.sha256(canonical).digest()).decode()


def _hkdf(secret_key: str, label: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=label).derive(secret_key.encode())


class Keyring:
    """The key that signs, and those that verify, by their ids."""

    def __init__(self) -> None:
        # Called after a key was added or dropped: what was verified with it is verified anew.
        self.on_change: Callable[[], None] | None = None
        self.load()

    def load(self) -> None:
        """Reads the keys anew. Raises ImproperlyConfigured, and keeps what it had."""
        keys = list(_from_folder(Path(settings.JWT_KEYS)) if settings.JWT_KEYS else _from_secret_key())
        self.replace(keys)

    def replace(self, keys: list[Key]) -> None:
        """The last of the keys signs."""
        self.by_kid = {key.kid: key for key in keys}
        self.signing_key = keys[-1]
        if self.on_change:
            self.on_change()


def _from_folder(folder: Path) -> Iterable[Key]:
    files = sorted(folder.glob("*.pem"))
    if not files:
        raise ImproperlyConfigured("JWT_KEYS names a folder without a .pem file.")
    return map(Key.from_pem, files)


def _from_secret_key() -> Iterable[Key]:
    return map(Key.derived_from, [*reversed(settings.SECRET_KEY_FALLBACKS), settings.SECRET_KEY])


keyring = Keyring()


def _follow_settings(*, setting: str, **kwargs: object) -> None:
    if setting in ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "JWT_KEYS"):
        keyring.load()


setting_changed.connect(_follow_settings)
