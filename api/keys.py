"""The keys that sign tokens."""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.signals import setting_changed


@dataclass(frozen=True)
class Key:
    """One key, one algorithm (RFC 8725, section 3.1)."""

    kid: str
    algorithm: str
    secret: bytes = field(repr=False)

    @classmethod
    def derived_from(cls, secret_key: str) -> "Key":
        """An HS256 key that tells nothing of SECRET_KEY or of what else is derived from it (RFC 5869)."""
        return cls(
            kid=_hkdf(secret_key, b"wristband-passport kid", 6).hex(),
            algorithm="HS256",
            secret=_hkdf(secret_key, b"wristband-passport HS256", 32),
        )


def _hkdf(secret_key: str, label: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=label).derive(secret_key.encode())


class Keyring:
    """The key that signs, and those that verify, by their ids."""

    def __init__(self, *keys: Key) -> None:
        self.signing_key = keys[0]
        self.by_kid = {key.kid: key for key in keys}

    @classmethod
    def from_settings(cls) -> "Keyring":
        return cls(*(Key.derived_from(secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)))

    def reload(self) -> None:
        self.__dict__ = self.from_settings().__dict__


keyring = Keyring.from_settings()


def _follow_settings(*, setting: str, **kwargs: object) -> None:
    if setting in ("SECRET_KEY", "SECRET_KEY_FALLBACKS"):
        keyring.reload()


setting_changed.connect(_follow_settings)
