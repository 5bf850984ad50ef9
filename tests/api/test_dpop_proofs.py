"""The checks of a DPoP proof (RFC 9449, section 4.3)."""

import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import get_default_algorithms

from tests.api.dpop_client import ME, Holder, b64, refused
from tests.conftest import ApiClient, claims_of


def test_1_two_proofs_are_refused(holder):
    proofs = [holder.proof("GET", ME, holder.access) for _ in range(2)]
    assert refused(holder.send("GET", "/api/me/", proof=",".join(proofs)))


def test_1_a_missing_proof_is_refused(holder):
    assert refused(holder.send("GET", "/api/me/", proof=False))


@pytest.mark.parametrize(
    "proof", [" ", "x", "a.b.c", "a.b", "é.b.c", "\u0000", "e30.e30.e30", "x" * 5000, "bnVsbA.e30.e30"]
)
def test_2_a_proof_that_is_not_a_jwt_is_refused(holder, proof):
    assert refused(holder.send("GET", "/api/me/", proof=proof))


def test_2_a_duplicate_json_key_is_refused(holder):
    _header, claims, signature = holder.proof("GET", ME, holder.access).split(".")
    jwk = json.dumps(holder.jwk)
    header = f'{{"typ":"dpop+jwt","alg":"none","alg":"ES256","jwk":{jwk}}}'
    assert refused(holder.send("GET", "/api/me/", proof=f"{b64(header.encode())}.{claims}.{signature}"))


@pytest.mark.parametrize("claim", ["jti", "htm", "htu", "iat", "ath"])
def test_3_every_claim_is_required(holder, claim):
    assert refused(holder.send("GET", "/api/me/", proof=holder.proof("GET", ME, holder.access, **{claim: None})))


@pytest.mark.parametrize(
    "claims",
    [
        {"jti": 1},
        {"jti": ""},
        {"jti": "x" * 257},
        {"htm": ["GET"]},
        {"htu": {}},
        {"iat": "1"},
        {"iat": True},
        {"iat": 1e400},
        {"nonce": 1},
        {"ath": 1},
    ],
)
def test_3_every_claim_has_a_type_and_a_maximum_size(holder, claims):
    assert refused(holder.send("GET", "/api/me/", proof=holder.proof("GET", ME, holder.access, **claims)))


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "DPOP+JWT", "", None])
def test_4_another_typ_is_refused(holder, typ):
    proof = holder.proof("GET", ME, holder.access, header={"typ": typ})
    assert refused(holder.send("GET", "/api/me/", proof=proof))


def test_5_no_signature_is_refused(holder):
    claims = claims_of(holder.proof("GET", ME, holder.access))
    proof = jwt.encode(claims, None, algorithm="none", headers={"typ": "dpop+jwt", "jwk": holder.jwk})
    assert refused(holder.send("GET", "/api/me/", proof=proof + "eA"))


def test_5_a_symmetric_key_is_refused(holder):
    claims = claims_of(holder.proof("GET", ME, holder.access))
    jwk = {"kty": "oct", "k": b64(b"k" * 32)}
    proof = jwt.encode(claims, b"k" * 32, algorithm="HS256", headers={"typ": "dpop+jwt", "jwk": jwk})
    assert refused(holder.send("GET", "/api/me/", proof=proof))


def test_5_another_algorithm_is_refused(holder):
    key = rsa.generate_private_key(65537, 2048)
    claims = claims_of(holder.proof("GET", ME, holder.access))
    jwk = get_default_algorithms()["RS256"].to_jwk(key.public_key(), as_dict=True)
    proof = jwt.encode(claims, key, algorithm="RS256", headers={"typ": "dpop+jwt", "jwk": jwk})
    assert refused(holder.send("GET", "/api/me/", proof=proof))


def test_5_an_algorithm_of_another_kind_of_key_is_refused(holder):
    proof = holder.proof("GET", ME, holder.access, header={"jwk": Holder("EdDSA").jwk})
    assert refused(holder.send("GET", "/api/me/", proof=proof))


def test_6_a_signature_of_another_key_is_refused(holder):
    proof = holder.proof("GET", ME, holder.access, header={"jwk": Holder().jwk})
    assert refused(holder.send("GET", "/api/me/", proof=proof))


def test_6_a_changed_proof_is_refused(holder):
    header, _claims, signature = holder.proof("GET", ME, holder.access).split(".")
    other = holder.proof("GET", ME, holder.access).split(".")[1]
    assert refused(holder.send("GET", "/api/me/", proof=f"{header}.{other}.{signature}"))


@pytest.mark.parametrize("jwk", [None, True, 1, "key", [], ["kty"]])
def test_6_a_jwk_that_is_not_an_object_is_refused(holder, jwk):
    assert refused(holder.send("GET", "/api/me/", proof=holder.proof("GET", ME, holder.access, header={"jwk": jwk})))


@pytest.mark.parametrize(
    "change", [{"x": "A" * 43}, {"x": "A"}, {"x": 1}, {"crv": "P-384"}, {"crv": []}, {"kty": "oct"}]
)
def test_6_an_invalid_jwk_is_refused(holder, change):
    proof = holder.proof("GET", ME, holder.access, header={"jwk": holder.jwk | change})
    assert refused(holder.send("GET", "/api/me/", proof=proof))


@pytest.mark.parametrize("member", ["d", "k", "p"])
def test_7_a_private_key_is_refused(holder, member):
    proof = holder.proof("GET", ME, holder.access, header={"jwk": holder.jwk | {member: "A" * 43}})
    assert refused(holder.send("GET", "/api/me/", proof=proof))


@pytest.mark.parametrize("method", ["POST", "get", "HEAD"])
def test_8_another_method_is_refused(holder, method):
    assert refused(holder.send("GET", "/api/me/", proof=holder.proof(method, ME, holder.access)))


@pytest.mark.parametrize(
    "uri",
    [
        "http://testserver/api/me/",
        "https://testserver:8443/api/me/",
        "https://evil.example/api/me/",
        "https://testserver.evil.example/api/me/",
        "https://ann@testserver/api/me/",
        "https://testserver/api/me",
        "https://testserver/api/events/",
        "/api/me/",
        "",
        "https://[/api/me/",
        "https://testserver:x/api/me/",
        " https://testserver/api/me/",
    ],
)
def test_9_another_url_is_refused(holder, uri):
    assert refused(holder.send("GET", "/api/me/", proof=holder.proof("GET", uri, holder.access)))


@pytest.mark.parametrize(
    "uri",
    [
        "HTTPS://TestServer/api/me/",
        "https://testserver:443/api/me/",
        "https://testserver/api/me/?a=b#c",
        "https://testserver/api/%6De/",
    ],
)
def test_9_an_equivalent_url_is_accepted(holder, uri):
    assert holder.send("GET", "/api/me/", proof=holder.proof("GET", uri, holder.access)).status_code == 200


def test_9_the_port_comes_from_the_site_url_not_the_host_header(holder, settings):
    settings.SITE_URL = "https://www.example.org:8443"
    holder.me()

    def call(port):
        proof = holder.proof("GET", f"https://testserver:{port}/api/me/", holder.access)
        headers = {"Authorization": f"DPoP {holder.access}", "DPoP": proof, "host": "testserver:1337"}
        return ApiClient().get("/api/me/", headers=headers)

    refused(call(1337))
    assert call(8443).status_code == 200


def test_9_a_forwarded_host_of_an_untrusted_peer_is_ignored(holder):
    proof = holder.proof("GET", "https://evil.example/api/me/", holder.access)
    headers = {"authorization": f"DPoP {holder.access}", "dpop": proof, "x-forwarded-host": "evil.example"}
    assert refused(ApiClient().get("/api/me/", headers=headers))


@pytest.mark.parametrize("nonce", ["", "x", "database:1:x", "database:1:\ud800", "\ud800:1:x"])
def test_10_a_foreign_nonce_is_refused_with_a_new_nonce(holder, nonce):
    response = holder.send("GET", "/api/me/", proof=holder.proof("GET", ME, holder.access, nonce=nonce))
    assert refused(response, "use_dpop_nonce")
    assert holder.me(proof=None).status_code == 200


def test_10_a_nonce_is_valid_for_minutes(holder, time_machine):
    holder.send("GET", "/api/me/", proof=holder.proof("GET", ME, holder.access, nonce="x"))
    holder.nonce = holder.send("GET", "/api/me/", proof=holder.proof("GET", ME, holder.access, nonce="x")).headers[
        "DPoP-Nonce"
    ]
    now = time.time()
    time_machine.move_to(now + 240)
    assert holder.send("GET", "/api/me/").status_code == 200
    time_machine.move_to(now + 302)
    assert refused(holder.send("GET", "/api/me/", access=holder.access), "use_dpop_nonce")


@pytest.mark.parametrize("seconds", [-62, 17, -(10**6), 10**6])
def test_11_an_old_or_future_proof_is_refused(holder, seconds):
    proof = holder.proof("GET", ME, holder.access, iat=int(time.time()) + seconds, nonce=None)
    assert refused(holder.send("GET", "/api/me/", proof=proof), "use_dpop_nonce")


def test_11_a_client_with_a_wrong_clock_succeeds_with_our_nonce(holder):
    wrong = {"iat": int(time.time()) - 86400}
    asked = holder.send("GET", "/api/me/", proof=holder.proof("GET", ME, holder.access, nonce="", **wrong))
    proof = holder.proof("GET", ME, holder.access, nonce=asked.headers["DPoP-Nonce"], **wrong)
    assert holder.send("GET", "/api/me/", proof=proof).status_code == 200


def test_12_a_proof_for_another_token_is_refused(holder):
    assert refused(holder.send("GET", "/api/me/", proof=holder.proof("GET", ME, holder.refresh)))


def test_12_a_stolen_token_with_another_key_is_refused(holder):
    thief = Holder()
    thief.nonce = holder.nonce
    assert refused(thief.send("GET", "/api/me/", access=holder.access))
