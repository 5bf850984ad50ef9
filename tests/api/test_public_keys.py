"""The public keys (JWKS), and tokens whose header points at other keys."""

import base64
import hashlib
import json
from functools import cache

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from api.keys import Key, keyring
from tests.api.test_forged_tokens import signed
from tests.conftest import bearer, claims_of, header_of

pytestmark = pytest.mark.django_db


JWKS = "/.well-known/jwks.json"


@cache
def pem(algorithm):
    """Returns a key; cached, since an RSA key takes a third of a second."""
    return Key.generate(algorithm).pem


@pytest.fixture
def with_keys(tmp_path, settings):
    """A folder with a key of each algorithm; RSA signs."""
    for name, algorithm in {"1": "ES256", "2": "EdDSA", "3": "RS256"}.items():
        (tmp_path / f"{name}.pem").write_bytes(pem(algorithm))
    settings.JWT_KEYS = str(tmp_path)
    return tmp_path


# The public keys


def test_the_public_keys_need_no_sign_in(with_keys, browser):
    keys = browser().get(JWKS).json()["keys"]
    assert [(key["kty"], key["alg"], key["use"]) for key in keys] == [
        ("EC", "ES256", "sig"),
        ("OKP", "EdDSA", "sig"),
        ("RSA", "RS256", "sig"),
    ]


def test_no_private_member_is_published(with_keys, browser):
    published = {name for key in browser().get(JWKS).json()["keys"] for name in key}
    assert published == {"kty", "crv", "x", "y", "n", "e", "kid", "use", "alg"}


def test_the_response_contains_no_part_of_a_private_key(with_keys, browser):
    answer = browser().get(JWKS).content.decode()
    for name in ["1", "2", "3"]:
        lines = (with_keys / f"{name}.pem").read_text().splitlines()
        assert not [line for line in lines if line in answer]
    numbers = keyring.signing_key.signing.private_numbers()
    for secret in [numbers.d, numbers.p, numbers.q]:
        text = base64.urlsafe_b64encode(secret.to_bytes((secret.bit_length() + 7) // 8)).rstrip(b"=").decode()
        assert text not in answer


def test_each_kid_is_the_thumbprint_of_its_key(with_keys, browser):
    for key in browser().get(JWKS).json()["keys"]:
        required = {name: value for name, value in key.items() if name not in {"kid", "use", "alg"}}
        text = json.dumps(required, sort_keys=True, separators=(",", ":")).encode()
        assert key["kid"] == base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()


def test_other_libraries_verify_our_tokens_with_them(with_keys, browser, client_of, ann):
    token = client_of(ann).access
    ring = jwt.PyJWKSet.from_dict(browser().get(JWKS).json())
    key = ring[header_of(token)["kid"]]
    assert jwt.decode(token, key, algorithms=["RS256"], audience="api", issuer="wristband")["sub"] == str(ann.pk)


def test_a_shared_secret_is_never_published(browser):
    assert browser().get(JWKS).json() == {"keys": []}


def test_the_keys_may_be_cached_for_minutes(with_keys, browser):
    response = browser().get(JWKS)
    assert response.headers["Cache-Control"] == "public, max-age=300"
    again = browser().get(JWKS, headers={"if-none-match": response.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["Cache-Control"] == "public, max-age=300"


def test_other_keys_have_another_etag(with_keys, browser):
    before = browser().get(JWKS).headers["ETag"]
    (with_keys / "4.pem").write_bytes(Key.generate("ES256").pem)
    keyring.load()
    assert browser().get(JWKS, headers={"if-none-match": before}).status_code == 200


@pytest.mark.parametrize("accept", ["application/jwk-set+json", "text/html", "nonsense", "*/*;q=0", "a" * 5000])
def test_the_keys_are_json_whatever_the_accept_header(with_keys, browser, accept):
    response = browser().get(JWKS, headers={"accept": accept})
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")


def test_the_keys_are_served_without_reading_the_session(with_keys, browser_of, ann, django_assert_num_queries):
    browser = browser_of(ann)
    with django_assert_num_queries(0):
        response = browser.get(JWKS)
    assert "Cookie" not in response.headers.get("Vary", "")
    assert not response.cookies


def test_the_keys_are_served_to_a_client_with_a_bad_token(with_keys, browser):
    assert browser().get(JWKS, headers={"authorization": "Bearer nonsense"}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_the_keys_are_read_only(with_keys, browser, method):
    assert browser().generic(method, JWKS).status_code == 405


# Headers of a token that point at other keys

POINTERS = {
    "jku": "https://evil.example/jwks.json",
    "x5u": "https://evil.example/key.pem",
    "x5c": ["AAAA"],
    "jwk": None,
    "crit": ["exp"],
}


@pytest.mark.parametrize("pointer", POINTERS)
@pytest.mark.parametrize("names_our_key", [True, False])
def test_a_token_cannot_choose_its_key(with_keys, browser, client_of, ann, pointer, names_our_key):
    token = client_of(ann).access
    key = ec.generate_private_key(ec.SECP256R1())
    value = POINTERS[pointer] or jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    ours = keyring.by_kid and next(iter(keyring.by_kid))
    headers = {"typ": "at+jwt", pointer: value} | ({"kid": ours} if names_our_key else {})
    forged = jwt.encode(claims_of(token), key, algorithm="ES256", headers=headers)
    assert browser().get("/api/me/", headers=bearer(forged)).status_code == 401


def test_a_public_key_is_not_accepted_as_an_hmac_secret(with_keys, browser, client_of, ann):
    token = client_of(ann).access
    for key in browser().get(JWKS).json()["keys"]:
        for secret in [json.dumps(key).encode(), key.get("x", key.get("n")).encode()]:
            forged = signed({"alg": "HS256", "typ": "at+jwt", "kid": key["kid"]}, claims_of(token), secret)
            assert browser().get("/api/me/", headers=bearer(forged)).status_code == 401
