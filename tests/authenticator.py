"""A scripted authenticator: makes passkeys with attestation "none", and signs challenges (WebAuthn Level 3)."""

import base64
import hashlib
import json
import secrets
import struct
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

ORIGIN = "https://testserver"
RP_ID = "testserver"
USER_PRESENT, USER_VERIFIED, BACKUP_ELIGIBLE, BACKED_UP, HAS_CREDENTIAL = 1, 4, 8, 16, 64


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_b64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Authenticator:
    """One passkey. The arguments of create() and get() replace what a correct browser and authenticator send."""

    synced: bool = True
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    user_handle: bytes = b""
    counter: int = 0

    @property
    def _backup(self) -> int:
        return BACKUP_ELIGIBLE | BACKED_UP if self.synced else 0

    def create(self, options: dict[str, Any], flags: int = USER_PRESENT | USER_VERIFIED, **changes: Any) -> dict:
        self.user_handle = from_b64(options["user"]["id"])
        point = self.key.public_key().public_numbers()
        x, y = (number.to_bytes(32, "big") for number in (point.x, point.y))
        # A COSE key in CBOR: {1: 2, 3: -7, -1: 1, -2: x, -3: y}
        cose = b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20" + x + b"\x22\x58\x20" + y
        credential = bytes(16) + struct.pack(">H", len(self.credential_id)) + self.credential_id + cose
        data = self._authenticator_data(flags | HAS_CREDENTIAL, changes) + credential
        # {"fmt": "none", "attStmt": {}, "authData": data}
        attestation = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59" + struct.pack(">H", len(data)) + data
        client = self._client_data("webauthn.create", options, changes)
        response = {"clientDataJSON": b64(client), "attestationObject": b64(attestation), "transports": ["internal"]}
        return self._credential(response)

    def get(self, options: dict[str, Any], flags: int = USER_PRESENT | USER_VERIFIED, **changes: Any) -> dict:
        if not self.synced:
            self.counter += changes.pop("count", 1)
        data = self._authenticator_data(flags, changes)
        client = self._client_data("webauthn.get", options, changes)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        handle = changes.pop("user_handle", self.user_handle)
        return self._credential(
            {
                "clientDataJSON": b64(client),
                "authenticatorData": b64(data),
                "signature": b64(signature),
                "userHandle": None if handle is None else b64(handle),
            }
        )

    def _authenticator_data(self, flags: int, changes: dict[str, Any]) -> bytes:
        rp_hash = hashlib.sha256(changes.pop("rp_id", RP_ID).encode()).digest()
        return rp_hash + bytes([flags | self._backup]) + struct.pack(">I", self.counter)

    def _client_data(self, kind: str, options: dict[str, Any], changes: dict[str, Any]) -> bytes:
        data = {"type": kind, "challenge": options["challenge"], "origin": ORIGIN, "crossOrigin": False}
        names = ("type", "challenge", "origin", "crossOrigin", "topOrigin")
        return json.dumps(data | {name: changes[name] for name in names if name in changes}).encode()

    def _credential(self, response: dict[str, Any]) -> dict[str, Any]:
        name = b64(self.credential_id)
        return {
            "id": name,
            "rawId": name,
            "type": "public-key",
            "response": response,
            "clientExtensionResults": {},
            "authenticatorAttachment": "platform",
        }
