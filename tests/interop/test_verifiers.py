"""JOSE libraries verify our tokens with our public keys, and refuse forged variants."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from joserfc import jwt as joserfc
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from jwt.utils import base64url_decode, base64url_encode

from tests.interop.conftest import AUDIENCE, Issuer, Tokens

pytestmark = [pytest.mark.once, pytest.mark.long]

HERE = Path(__file__).parent
# Returns the subject of a valid token, and None for any other.
Verifier = Callable[[str], str | None]


def of_pyjwt(issuer: Issuer, javascript: Any) -> Verifier:
    # It fetches the keys at most every 30 seconds: enough, since a key is published long before it signs.
    keys = jwt.PyJWKClient(f"{issuer.url}/.well-known/jwks.json", cooldown_duration=0)

    def verify(token: str) -> str | None:
        try:
            key = keys.get_signing_key_from_jwt(token)
            return jwt.decode(token, key, algorithms=["ES256"], issuer=issuer.url, audience=AUDIENCE)["sub"]
        except jwt.PyJWTError:
            return None

    return verify


def of_joserfc(issuer: Issuer, javascript: Any) -> Verifier:
    wanted = joserfc.JWTClaimsRegistry(
        iss={"essential": True, "value": issuer.url}, aud={"essential": True, "value": AUDIENCE}
    )

    def verify(token: str) -> str | None:
        keys = KeySet.import_key_set(
            httpx.get(f"{issuer.url}/.well-known/jwks.json", timeout=30, trust_env=False).json()
        )
        try:
            claims = joserfc.decode(token, keys, algorithms=["ES256"]).claims
            wanted.validate(claims)
        except (JoseError, ValueError):
            return None
        return claims["sub"]

    return verify


def of_jose(issuer: Issuer, javascript: Any) -> Verifier:
    script = javascript((HERE / "jose.mjs").read_text())

    def verify(token: str) -> str | None:
        answer = script.ask(token)
        return None if answer.startswith("refused") else answer

    return verify


@pytest.fixture(
    params=[of_pyjwt, pytest.param(of_joserfc, marks=pytest.mark.named), of_jose], ids=["PyJWT", "joserfc", "jose"]
)
def verify(request: pytest.FixtureRequest, issuer: Issuer) -> Verifier:
    javascript = request.getfixturevalue("javascript") if request.param is of_jose else None
    return request.param(issuer, javascript)


@pytest.fixture
def tokens(issuer: Issuer) -> Tokens:
    return issuer.sign_in()


def subject(token: str) -> str:
    return jwt.decode(token, options={"verify_signature": False})["sub"]


def test_other_libraries_verify_our_tokens_through_a_rotation(verify: Verifier, issuer: Issuer, tokens: Tokens) -> None:
    assert verify(tokens.access) == subject(tokens.access)
    issuer.rotate()
    later = issuer.sign_in()
    assert jwt.get_unverified_header(later.access)["kid"] != jwt.get_unverified_header(tokens.access)["kid"]
    assert verify(later.access) == subject(later.access)
    assert verify(tokens.access) == subject(tokens.access)


def other_claims(token: str) -> str:
    header, claims, signature = token.split(".")
    changed = json.loads(base64url_decode(claims)) | {"sub": "1"}
    return ".".join([header, base64url_encode(json.dumps(changed).encode()).decode(), signature])


def unsigned(token: str) -> str:
    return jwt.encode(jwt.decode(token, options={"verify_signature": False}), "", algorithm="none")


def of_another_key(token: str) -> str:
    claims, header = jwt.decode(token, options={"verify_signature": False}), jwt.get_unverified_header(token)
    return jwt.encode(claims, generate_private_key(SECP256R1()), algorithm="ES256", headers=header)


def signed_with_the_key_id(token: str) -> str:
    claims, header = jwt.decode(token, options={"verify_signature": False}), jwt.get_unverified_header(token)
    return jwt.encode(claims, header["kid"], algorithm="HS256", headers=header | {"alg": "HS256"})


@pytest.mark.parametrize("tamper", [other_claims, unsigned, of_another_key, signed_with_the_key_id])
def test_other_libraries_refuse_a_forged_variant_of_our_token(
    verify: Verifier, tokens: Tokens, tamper: Callable[[str], str]
) -> None:
    assert verify(tokens.access) == subject(tokens.access)
    assert verify(tamper(tokens.access)) is None
