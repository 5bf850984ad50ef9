"""The keys that sign tokens, and the ring of them that a process holds."""

import hashlib
import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from jwt.algorithms import get_default_algorithms
from jwt.utils import base64url_encode

from api import strict_json
from api.curves import is_sound_ed25519
from api.key_files import Unreadable, printable, read, state_of
from api.outages import OutageLog

logger = logging.getLogger(__name__)

# Of those that cannot be read, in one line.
FILES_LOGGED = 10
RSA_MIN_BITS = 2048
RSA_NEW_BITS = 3072
# RFC 7638, section 3.2; RFC 8037, section 2. Also all that a public key has.
PUBLIC_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}
# The primes by which the moduli of ROCA (CVE-2017-15361) are known: powers of 65537 by each of them.
ROCA_PRIMES = [p for p in range(3, 168, 2) if all(p % divisor for divisor in range(3, p, 2))]
# Between two looks at the folder, in seconds.
LOOK_EVERY = 0.5


@dataclass(frozen=True)
class Key:
    """One key, one algorithm (RFC 8725, section 3.1)."""

    kid: str
    algorithm: str
    signing: Any = field(repr=False)
    verifying: Any = field(repr=False)

    @classmethod
    def derived_from(cls, secret_key: str) -> Self:
        """An HS256 key that tells nothing of SECRET_KEY or of what else is derived from it (RFC 5869)."""
        secret = _hkdf(secret_key, b"wristband-passport HS256", 32)
        return cls(_hkdf(secret_key, b"wristband-passport kid", 6).hex(), "HS256", secret, secret)

    @classmethod
    def from_pem(cls, path: Path) -> Self:
        """
        Raises Unreadable, and ImproperlyConfigured for a file that is not a private key of a kind and size that will
        do.
        """
        content, name = read(path), printable(path)
        try:
            private = load_pem_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ImproperlyConfigured(f"{name} in JWT_KEYS is not an unencrypted PEM private key.") from error
        algorithm = _algorithm_of(private)
        if algorithm is None:
            raise ImproperlyConfigured(f"{name} in JWT_KEYS is none of ES256, EdDSA, or sound RS256 of 2048 bits.")
        return cls._of(algorithm, private)

    @classmethod
    def generate(cls, algorithm: str) -> Self:
        """One whose id no command takes for an option."""
        while (key := cls._of(algorithm, NEW_KEYS[algorithm]())).kid.startswith("-"):
            pass
        return key

    @classmethod
    def _of(cls, algorithm: str, private: Any) -> Self:
        public = private.public_key()
        return cls(thumbprint(public_jwk(algorithm, public)), algorithm, private, public)

    @property
    def is_public(self) -> bool:
        """Whether others can verify with it."""
        return self.algorithm != "HS256"

    @property
    def jwk(self) -> dict[str, str]:
        """What others need to verify with it (RFC 7517)."""
        return public_jwk(self.algorithm, self.verifying) | {"kid": self.kid, "use": "sig", "alg": self.algorithm}

    @property
    def pem(self) -> bytes:
        return self.signing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


NEW_KEYS: dict[str, Callable[[], Any]] = {
    "ES256": lambda: generate_private_key(SECP256R1()),
    "EdDSA": Ed25519PrivateKey.generate,
    "RS256": lambda: generate_rsa_key(65537, RSA_NEW_BITS),
}


def _algorithm_of(private: object) -> str | None:
    if isinstance(private, EllipticCurvePrivateKey) and isinstance(private.curve, SECP256R1):
        return "ES256"
    if isinstance(private, RSAPrivateKey) and _is_sound(private):
        return "RS256"
    if isinstance(private, Ed25519PrivateKey) and is_sound_ed25519(private.public_key().public_bytes_raw()):
        return "EdDSA"
    return None


def _is_sound(private: RSAPrivateKey) -> bool:
    numbers = private.public_key().public_numbers()
    return private.key_size >= RSA_MIN_BITS and numbers.e >= 65537 and not _is_of_roca(numbers.n)


def _is_of_roca(modulus: int) -> bool:
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
    """Of SECRET_KEY and its fallbacks; the last one signs where JWT_KEYS is not set."""
    return [Key.derived_from(secret) for secret in [*reversed(settings.SECRET_KEY_FALLBACKS), settings.SECRET_KEY]]


class State(StrEnum):
    """The life of a key. All of them verify."""

    PUBLISHED = "published"
    SIGNING = "signing"
    VERIFYING = "verifying"


class Entry(NamedTuple):
    state: State
    since: datetime


class KeyFolder:
    """
    A folder of PEM private keys. `ring.json` says in which state each key is, and what it does not name is no key of
    ours; without that file the last by name signs and the others verify.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        # Names of files, each with the cause; as of the last call of files().
        self.unreadable: list[str] = []

    @property
    def ring_file(self) -> Path:
        return self.path / "ring.json"

    def entries(self) -> dict[str, Entry] | None:
        """By kid; None without a ring.json. Raises ImproperlyConfigured for one that makes no sense."""
        # A link to nowhere is not the same as no ring.json.
        if not os.path.lexists(self.ring_file):
            return None
        try:
            text = read(self.ring_file)
        except Unreadable as error:
            raise ImproperlyConfigured(f"ring.json in JWT_KEYS cannot be read ({error}).") from error
        try:
            ring = strict_json.loads(text)
            entries = {
                kid: Entry(State(each["state"]), datetime.fromisoformat(each["since"])) for kid, each in ring.items()
            }
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ImproperlyConfigured("ring.json in JWT_KEYS cannot be understood.") from error
        if [each.state for each in entries.values()].count(State.SIGNING) != 1:
            raise ImproperlyConfigured("ring.json in JWT_KEYS must name one key that signs.")
        return entries

    def files(self) -> dict[Path, Key]:
        """
        The keys by file, in the order of names; `unreadable` then has the files that were passed over, and why. Raises
        ImproperlyConfigured for a file that was read and will not do: it may be half written.
        """
        self.unreadable = []
        keys = {}
        for path in sorted(self.path.glob("*.pem")):
            try:
                keys[path] = Key.from_pem(path)
            except Unreadable as error:
                self.unreadable.append(f"{printable(path)} ({error})")
        return keys

    def keys(self) -> dict[str, Key]:
        """As files(), by kid."""
        return {key.kid: key for key in self.files().values()}

    def load(self) -> tuple[dict[str, Key], Key]:
        """All keys of ours by kid, and the one that signs. Raises ImproperlyConfigured."""
        keys, entries = self.keys(), self.entries()
        if entries is not None:
            # Keys of SECRET_KEY are named while the project moves over from it; a key without a file is not here yet,
            # or was taken away.
            known = keys | {key.kid: key for key in derived_keys()}
            keys = {kid: known[kid] for kid in entries if kid in known}
            signs = next(kid for kid, entry in entries.items() if entry.state == State.SIGNING)
        else:
            signs = next(reversed(keys), "")
        if signs not in keys:
            raise ImproperlyConfigured("JWT_KEYS does not hold the key that signs. To make keys: manage.py keys new")
        return keys, keys[signs]

    def fingerprint(self) -> object:
        """Changes with anything in the folder: some 20 microseconds."""
        try:
            with os.scandir(self.path) as files:
                return sorted((each.name, *state_of(each)) for each in files)
        except OSError as error:
            return str(error)


class Keyring:
    """
    The key that signs, and those that verify, by their ids. It follows the folder: every half second somebody who asks
    looks whether anything in there has changed. A folder that makes no sense changes nothing.
    """

    def __init__(self) -> None:
        # Called after a key was dropped: what was verified with it is verified anew.
        self.on_drop: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._keys: dict[str, Key] = {}
        self._signing_key: Key | None = None
        self._seen: object = None
        # On the monotonic clock, in seconds.
        self._next_look = -math.inf
        self._health = OutageLog("The keys in JWT_KEYS stay as they were", "The keys in JWT_KEYS are read again")

    @property
    def by_kid(self) -> dict[str, Key]:
        self.look()
        return self._keys

    @property
    def signing_key(self) -> Key:
        self.look()
        assert self._signing_key  # noqa: S101 (look() raises without one)
        return self._signing_key

    def load(self) -> None:
        """Reads the keys anew. Raises ImproperlyConfigured, and keeps what it had."""
        with self._lock:
            self._load()
            self._next_look = time.monotonic() + LOOK_EVERY

    def look(self) -> None:
        """Before any answer that depends on the keys. Raises ImproperlyConfigured if there never were any."""
        if time.monotonic() >= self._next_look:
            with self._lock:
                # Others wait: whoever asks after a key was dropped is told so.
                if time.monotonic() >= self._next_look:
                    self._look()

    def _look(self) -> None:
        if self._signing_key is None:
            self._load()
        elif settings.JWT_KEYS and (seen := KeyFolder(settings.JWT_KEYS).fingerprint()) != self._seen:
            try:
                self._load()
            except ImproperlyConfigured as error:
                self._seen = seen
                self._health.failed(error)
        self._next_look = time.monotonic() + LOOK_EVERY

    def _load(self) -> None:
        if settings.JWT_KEYS:
            folder = KeyFolder(settings.JWT_KEYS)
            seen = folder.fingerprint()
            try:
                keys, signing_key = folder.load()
            finally:
                if folder.unreadable:
                    logger.warning("Files in JWT_KEYS cannot be read: %s", ", ".join(folder.unreadable[:FILES_LOGGED]))
        else:
            keys, seen = {key.kid: key for key in derived_keys()}, None
            signing_key = list(keys.values())[-1]
        dropped = self._keys.keys() - keys.keys()
        self._keys, self._signing_key, self._seen = keys, signing_key, seen
        self._health.recovered()
        if dropped:
            for forget in self.on_drop:
                forget()


keyring = Keyring()


def _follow_settings(*, setting: str, **kwargs: object) -> None:
    if setting in ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "JWT_KEYS"):
        keyring.load()


setting_changed.connect(_follow_settings)
