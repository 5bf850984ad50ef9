"""Invalid public keys, for which anyone or no one can make a signature, are refused in DPoP proofs."""

import json
import time
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.utils import base64url_encode

from api.keys.key import FIELD_PRIME, SMALL_ORDER, is_valid_ed25519
from tests.conftest import ApiClient

P256_PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
IDENTITY = (1).to_bytes(32, "little")
SIGN_BIT = 2**255

SMALL = {f"y={y:x}, sign {sign}": y + sign * SIGN_BIT for y in SMALL_ORDER for sign in (0, 1)}
OTHER_ENCODINGS = {
    f"y={y:x}, sign {sign}": y + sign * SIGN_BIT
    for y in (FIELD_PRIME, FIELD_PRIME + 1, FIELD_PRIME + 18)
    for sign in (0, 1)
}


def b64(raw: bytes) -> str:
    return base64url_encode(raw).decode()


def sign_in_with(jwk: dict[str, str], signature: bytes, algorithm: str) -> Any:
    header = {"typ": "dpop+jwt", "alg": algorithm, "jwk": jwk}
    claims = {"jti": uuid4().hex, "htm": "POST", "htu": "https://testserver/api/token/", "iat": int(time.time())}
    proof = ".".join([b64(json.dumps(header).encode()), b64(json.dumps(claims).encode()), b64(signature)])
    credentials = {"username": "ann", "password": "violet anchor hums at dawn"}
    return ApiClient().post("/api/token/", credentials, headers={"DPoP": proof})


@pytest.mark.django_db
@pytest.mark.parametrize("encoded", (SMALL | OTHER_ENCODINGS).values(), ids=(SMALL | OTHER_ENCODINGS).keys())
@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519"])
def test_a_point_of_small_order_binds_no_token(ann: Any, encoded: int, algorithm: str) -> None:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(encoded.to_bytes(32, "little"))}
    # S = 0 and R = the identity: with the identity as key, this verifies for each message.
    answer = sign_in_with(jwk, IDENTITY + bytes(32), algorithm)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_dpop_proof")


def test_the_signature_verifies_without_a_check_of_the_key() -> None:
    """Control for the test above."""
    ed25519.Ed25519PublicKey.from_public_bytes(IDENTITY).verify(IDENTITY + bytes(32), b"whatever")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("x", "y"),
    [(0, 0), (1, 1), (2**256 - 1, 2**256 - 1), (P256_PRIME, 0), (P256_PRIME + 5, 2**200)],
)
def test_a_point_that_is_not_on_the_curve_binds_no_token(ann: Any, x: int, y: int) -> None:
    jwk = {"kty": "EC", "crv": "P-256", "x": b64(x.to_bytes(32, "big")), "y": b64(y.to_bytes(32, "big"))}
    answer = sign_in_with(jwk, bytes(64), "ES256")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_dpop_proof")


def test_keys_made_by_libraries_are_accepted() -> None:
    for _ in range(200):
        assert is_valid_ed25519(ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    assert not is_valid_ed25519(b"")
