"""Tokens that are bound to their client's key (DPoP, RFC 9449): no use to whoever has them and not the key."""

import base64
import hashlib
import json
import time
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from django.core.cache import cache
from django.test import override_settings
from jwt.algorithms import get_default_algorithms

from api.keys import Key
from tests.conftest import ApiClient, claims_of

ME = "https://testserver/api/me/"
TOKEN = "https://testserver/api/token/"
REFRESH = "https://testserver/api/token/refresh/"
KEYS = {"ES256": lambda: ec.generate_private_key(ec.SECP256R1()), "EdDSA": ed25519.Ed25519PrivateKey.generate}


class Holder:
    """A program that holds a key, and follows the server where that asks for a nonce."""

    def __init__(self, algorithm="ES256"):
        self.algorithm = algorithm
        self.key = KEYS[algorithm]()
        self.nonce = None
        self.access = self.refresh = ""

    @property
    def jwk(self):
        return get_default_algorithms()[self.algorithm].to_jwk(self.key.public_key(), as_dict=True)

    def proof(self, method, uri, access="", header=None, **claims):
        claims = {"jti": uuid4().hex, "htm": method, "htu": uri, "iat": int(time.time())} | claims
        if self.nonce:
            claims.setdefault("nonce", self.nonce)
        if access:
            claims.setdefault("ath", b64(hashlib.sha256(access.encode()).digest()))
        claims = {name: value for name, value in claims.items() if value is not None}
        headers = {"typ": "dpop+jwt", "jwk": self.jwk} | (header or {})
        return jwt.encode(claims, self.key, algorithm=self.algorithm, headers=headers)

    def send(self, method, path, data=None, proof=None, scheme="DPoP", access=None):
        access = self.access if access is None else access
        headers = {"Authorization": f"{scheme} {access}"} if access else {}
        if proof is not False:
            headers["DPoP"] = proof or self.proof(method, f"https://testserver{path}", access)
        return ApiClient().request(method, path, data, headers=headers)

    def call(self, method, path, data=None, **kwargs):
        """Once more if a nonce is asked for."""
        response = self.send(method, path, data, **kwargs)
        if "DPoP-Nonce" in response.headers:
            self.nonce = response.headers["DPoP-Nonce"]
            response = self.send(method, path, data, **kwargs)
        return response

    def sign_in(self, username, password):
        return self._keep(self.call("POST", "/api/token/", {"username": username, "password": password}, access=""))

    def renew(self):
        return self._keep(self.call("POST", "/api/token/refresh/", {"refresh": self.refresh}, access=""))

    def _keep(self, response):
        if response.status_code == 200:
            self.access, self.refresh = response.json()["access"], response.json()["refresh"]
        return response

    def me(self, **kwargs):
        return self.call("GET", "/api/me/", **kwargs)


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.fixture(params=["ES256", "EdDSA"])
def any_holder(request, ann, password):
    holder = Holder(request.param)
    assert holder.sign_in(ann.username, password).status_code == 200
    return holder


@pytest.fixture
def holder(ann, password):
    holder = Holder()
    assert holder.sign_in(ann.username, password).status_code == 200
    # The nonce, where one is wanted, is known from here on.
    assert holder.me().status_code == 200
    return holder


def refused(response, error="invalid_dpop_proof"):
    assert response.status_code == 401, response.content
    assert response.headers["WWW-Authenticate"] == f'DPoP error="{error}", algs="ES256 EdDSA"'
    assert response.json()["code"] == error
    return True


# What it is for


def test_a_bound_token_opens_the_api_with_a_proof(any_holder):
    assert any_holder.me().json()["username"] == "ann"


def test_both_tokens_name_the_key(any_holder):
    members = {name: any_holder.jwk[name] for name in ("crv", "kty", "x", "y") if name in any_holder.jwk}
    thumbprint = b64(hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest())
    assert claims_of(any_holder.access)["cnf"] == claims_of(any_holder.refresh)["cnf"] == {"jkt": thumbprint}


def test_the_answer_says_that_the_tokens_are_bound(ann, password):
    assert Holder().sign_in("ann", password).json()["token_type"] == "DPoP"


def test_a_refresh_keeps_the_key(any_holder):
    before = claims_of(any_holder.access)["cnf"]
    response = any_holder.renew()
    assert response.json()["token_type"] == "DPoP"
    assert claims_of(any_holder.access)["cnf"] == claims_of(any_holder.refresh)["cnf"] == before
    assert any_holder.me().status_code == 200


def test_an_access_token_that_is_bound_stays_small(holder):
    assert len(holder.access) < 500


@pytest.mark.parametrize(("username", "is_told"), [("a" * 16, True), ("a" * 17, False)])
def test_with_es256_too_it_is_no_longer_than_its_thumbprint_makes_it(
    tmp_path, settings, password, django_user_model, username, is_told
):
    """The name goes before the token gets longer; whoever needs it asks the database."""
    (tmp_path / "key.pem").write_bytes(Key.generate("ES256").pem)
    settings.JWT_KEYS = str(tmp_path)
    django_user_model.objects.create_user(username, "a@example.org", password, pk=10**9)
    holder, unbound = Holder(), ApiClient()
    holder.sign_in(username, password)
    unbound.sign_in(username, password)
    assert (len(unbound.access) < 500, len(holder.access) < 580) == (True, True)
    assert len(holder.access) - len(unbound.access) <= 80
    assert ("username" in claims_of(holder.access)) == is_told
    assert holder.me().json()["username"] == username


def test_a_bound_token_never_works_as_bearer(holder):
    response = holder.send("GET", "/api/me/", scheme="Bearer")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="api", error="invalid_token"'


def test_an_unbound_token_never_works_with_a_proof(client_of, ann):
    response = Holder().send("GET", "/api/me/", access=client_of(ann).access)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'DPoP algs="ES256 EdDSA", error="invalid_token"'


def test_an_unbound_token_goes_on_working(client_of, ann):
    assert client_of(ann).get("/api/me/").status_code == 200


def test_a_cookie_does_not_make_up_for_a_bad_proof(holder, browser_of, ann):
    response = browser_of(ann).get("/api/me/", headers={"authorization": f"DPoP {holder.access}", "dpop": "x"})
    assert refused(response)


def test_a_bound_token_of_an_ended_sign_in_is_refused(holder):
    assert ApiClient().post("/api/token/blacklist/", {"refresh": holder.refresh}).status_code == 200
    response = holder.send("GET", "/api/me/")
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


# Section 4.3, check by check


def test_1_two_proofs_are_refused(holder):
    proofs = [holder.proof("GET", ME, holder.access) for _ in range(2)]
    assert refused(holder.send("GET", "/api/me/", proof=",".join(proofs)))


def test_1_a_proof_must_be_there(holder):
    assert refused(holder.send("GET", "/api/me/", proof=False))


@pytest.mark.parametrize(
    "proof", [" ", "x", "a.b.c", "a.b", "é.b.c", "\u0000", "e30.e30.e30", "x" * 5000, "bnVsbA.e30.e30"]
)
def test_2_what_is_no_jwt_is_refused(holder, proof):
    assert refused(holder.send("GET", "/api/me/", proof=proof))


def test_2_a_key_said_twice_is_refused(holder):
    _header, claims, signature = holder.proof("GET", ME, holder.access).split(".")
    jwk = json.dumps(holder.jwk)
    header = f'{{"typ":"dpop+jwt","alg":"none","alg":"ES256","jwk":{jwk}}}'
    assert refused(holder.send("GET", "/api/me/", proof=f"{b64(header.encode())}.{claims}.{signature}"))


@pytest.mark.parametrize("claim", ["jti", "htm", "htu", "iat", "ath"])
def test_3_every_claim_must_be_there(holder, claim):
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
def test_3_every_claim_must_be_of_its_type_and_size(holder, claims):
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
def test_6_what_is_no_object_is_no_key(holder, jwk):
    assert refused(holder.send("GET", "/api/me/", proof=holder.proof("GET", ME, holder.access, header={"jwk": jwk})))


@pytest.mark.parametrize(
    "change", [{"x": "A" * 43}, {"x": "A"}, {"x": 1}, {"crv": "P-384"}, {"crv": []}, {"kty": "oct"}]
)
def test_6_what_is_no_key_is_refused(holder, change):
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
def test_9_another_address_is_refused(holder, uri):
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
def test_9_the_same_address_in_other_letters_will_do(holder, uri):
    assert holder.send("GET", "/api/me/", proof=holder.proof("GET", uri, holder.access)).status_code == 200


def test_9_the_port_is_the_sites_whatever_the_host_header_says(holder, settings):
    settings.SITE_URL = "https://www.example.org:8443"
    holder.me()

    def call(port):
        proof = holder.proof("GET", f"https://testserver:{port}/api/me/", holder.access)
        headers = {"Authorization": f"DPoP {holder.access}", "DPoP": proof, "host": "testserver:1337"}
        return ApiClient().get("/api/me/", headers=headers)

    refused(call(1337))
    assert call(8443).status_code == 200


def test_9_a_host_that_a_stranger_claims_to_forward_does_not_count(holder):
    proof = holder.proof("GET", "https://evil.example/api/me/", holder.access)
    headers = {"authorization": f"DPoP {holder.access}", "dpop": proof, "x-forwarded-host": "evil.example"}
    assert refused(ApiClient().get("/api/me/", headers=headers))


@pytest.mark.parametrize("nonce", ["", "x", "database:1:x", "database:1:\ud800", "\ud800:1:x"])
def test_10_a_nonce_that_is_not_ours_is_refused_and_a_better_one_given(holder, nonce):
    response = holder.send("GET", "/api/me/", proof=holder.proof("GET", ME, holder.access, nonce=nonce))
    assert refused(response, "use_dpop_nonce")
    assert holder.me(proof=None).status_code == 200


def test_10_a_nonce_is_good_for_minutes(holder, time_machine):
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
def test_11_a_proof_of_another_time_is_not_taken(holder, seconds):
    proof = holder.proof("GET", ME, holder.access, iat=int(time.time()) + seconds, nonce=None)
    assert refused(holder.send("GET", "/api/me/", proof=proof), "use_dpop_nonce")


def test_11_a_client_with_a_wrong_clock_gets_in_by_our_nonce(holder):
    wrong = {"iat": int(time.time()) - 86400}
    asked = holder.send("GET", "/api/me/", proof=holder.proof("GET", ME, holder.access, nonce="", **wrong))
    proof = holder.proof("GET", ME, holder.access, nonce=asked.headers["DPoP-Nonce"], **wrong)
    assert holder.send("GET", "/api/me/", proof=proof).status_code == 200


def test_12_a_proof_for_another_token_is_refused(holder):
    assert refused(holder.send("GET", "/api/me/", proof=holder.proof("GET", ME, holder.refresh)))


def test_12_a_thief_with_a_key_of_their_own_is_refused(holder):
    thief = Holder()
    thief.nonce = holder.nonce
    assert refused(thief.send("GET", "/api/me/", access=holder.access))


# Once


def test_a_proof_is_good_once(holder):
    proof = holder.proof("GET", ME, holder.access)
    assert holder.send("GET", "/api/me/", proof=proof).status_code == 200
    assert refused(holder.send("GET", "/api/me/", proof=proof))


def test_the_id_of_one_client_is_not_used_up_by_another(holder, bob, password):
    other = Holder()
    other.nonce = holder.nonce
    other.sign_in("bob", password)
    for each in (holder, other):
        assert each.send("GET", "/api/me/", proof=each.proof("GET", ME, each.access, jti="one")).status_code == 200


def test_a_proof_is_not_good_again_after_redis_was_emptied(holder):
    proof = holder.proof("GET", ME, holder.access)
    assert holder.send("GET", "/api/me/", proof=proof).status_code == 200
    cache.clear()
    assert holder.send("GET", "/api/me/", proof=proof).status_code == 401
    assert holder.me().status_code == 200


def test_a_proof_without_a_nonce_will_do_once_the_memory_is_old_enough(holder, time_machine):
    time_machine.move_to(time.time() + 400)
    holder.nonce = None
    holder.renew()
    holder.nonce = None
    proof = holder.proof("GET", ME, holder.access)
    assert holder.send("GET", "/api/me/", proof=proof).status_code == 200
    assert refused(holder.send("GET", "/api/me/", proof=proof))
    cache.clear()
    assert holder.send("GET", "/api/me/", proof=proof).status_code == 401


# Where tokens are given


def test_a_bad_proof_starts_no_sign_in(ann, password):
    response = Holder().send("POST", "/api/token/", {"username": "ann", "password": password}, proof="x", access="")
    assert response.status_code == 400
    assert {name: response.json()[name] for name in ("error", "code")} == dict.fromkeys(
        ("error", "code"), "invalid_dpop_proof"
    )
    assert not ann.sign_ins.exists()


def test_a_nonce_is_asked_for_in_the_words_of_oauth(ann, password):
    holder = Holder()
    holder.nonce = "x"
    response = holder.send("POST", "/api/token/", {"username": "ann", "password": password}, access="")
    assert response.status_code == 400
    assert response.json()["error"] == response.json()["code"] == "use_dpop_nonce"
    assert response.headers["DPoP-Nonce"]


@pytest.mark.parametrize("proof", [False, "other"])
def test_a_stolen_refresh_token_gives_nothing_and_raises_no_alarm(holder, proof):
    thief = Holder()
    thief.nonce = holder.nonce
    proof = proof and thief.proof("POST", REFRESH)
    for _ in range(2):
        response = thief.send("POST", "/api/token/refresh/", {"refresh": holder.refresh}, proof=proof, access="")
        assert response.status_code == 400
        assert response.json()["error"] == "invalid_dpop_proof"
    assert holder.renew().status_code == 200


def test_whoever_finds_a_bound_token_can_end_it(holder):
    for path in ("/api/token/verify/", "/api/token/blacklist/"):
        data = {"token": holder.refresh, "refresh": holder.refresh}
        assert ApiClient().post(path, data).status_code == 200
    assert holder.renew().status_code == 401


def test_introspection_tells_of_the_key(holder, staff, client_of):
    response = client_of(staff).http.generic(
        "POST",
        "/api/token/introspect/",
        f"token={holder.access}",
        "application/x-www-form-urlencoded",
        headers={"authorization": f"Bearer {client_of(staff).access}"},
    )
    assert response.json()["token_type"] == "DPoP"
    assert response.json()["cnf"] == claims_of(holder.access)["cnf"]


# Who must


@pytest.mark.parametrize(("required", "names"), [("", []), ("staff", ["sue"]), ("all", ["ann", "sue"])])
def test_a_setting_says_whose_tokens_must_be_bound(ann, staff, password, required, names):
    with override_settings(DPOP_REQUIRED=required):
        for name in ("ann", "sue"):
            plain = ApiClient().sign_in(name, password)
            assert plain.status_code == (400 if name in names else 200)
            assert name not in names or plain.json()["error"] == "invalid_dpop_proof"
            assert Holder().sign_in(name, password).status_code == 200


def test_a_wrong_password_does_not_tell_whose_tokens_must_be_bound(staff):
    with override_settings(DPOP_REQUIRED="staff"):
        assert ApiClient().sign_in("sue", "wrong").json()["code"] == "no_active_account"


def test_a_user_can_be_chosen(ann, password, client_of):
    unbound = client_of(ann)
    ann.bound_tokens_only = True
    ann.save()
    assert ApiClient().sign_in("ann", password).status_code == 400
    assert unbound.renew().status_code == 401
    assert Holder().sign_in("ann", password).status_code == 200


def test_a_browser_needs_no_key(ann, browser_of):
    with override_settings(DPOP_REQUIRED="all"):
        assert browser_of(ann).get("/api/me/").status_code == 200
