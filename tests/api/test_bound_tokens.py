"""Tokens bound to the key of their client (DPoP, RFC 9449), which are refused without that key."""

import hashlib
import json
import time

import pytest
from django.core.cache import cache
from django.test import override_settings

from api.keys import Key
from tests.api.dpop_client import ME, REFRESH, Holder, b64, refused
from tests.conftest import ApiClient, bearer, claims_of


@pytest.fixture(params=["ES256", "EdDSA"])
def any_holder(request, ann, password):
    holder = Holder(request.param)
    assert holder.sign_in(ann.username, password).status_code == 200
    return holder


# Bound and unbound tokens


def test_a_bound_token_with_a_proof_is_accepted(any_holder):
    assert any_holder.me().json()["username"] == "ann"


def test_both_tokens_name_the_key(any_holder):
    members = {name: any_holder.jwk[name] for name in ("crv", "kty", "x", "y") if name in any_holder.jwk}
    thumbprint = b64(hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest())
    assert claims_of(any_holder.access)["cnf"] == claims_of(any_holder.refresh)["cnf"] == {"jkt": thumbprint}


def test_the_response_names_the_token_type_dpop(ann, password):
    assert Holder().sign_in("ann", password).json()["token_type"] == "DPoP"


def test_a_refresh_keeps_the_key(any_holder):
    before = claims_of(any_holder.access)["cnf"]
    response = any_holder.renew()
    assert response.json()["token_type"] == "DPoP"
    assert claims_of(any_holder.access)["cnf"] == claims_of(any_holder.refresh)["cnf"] == before
    assert any_holder.me().status_code == 200


def test_a_bound_access_token_stays_small(holder):
    assert len(holder.access) < 580


def test_with_es256_it_grows_only_by_the_thumbprint(tmp_path, settings, password, django_user_model):
    """The username is left out of the token, and read from the database where it is needed."""
    username = "a" * 16
    (tmp_path / "key.pem").write_bytes(Key.generate("ES256").pem)
    settings.JWT_KEYS = str(tmp_path)
    django_user_model.objects.create_user(username, "a@example.org", password, pk=10**9)
    holder, unbound = Holder(), ApiClient()
    holder.sign_in(username, password)
    unbound.sign_in(username, password)
    assert (len(unbound.access) < 500, len(holder.access) < 580) == (True, True)
    assert len(holder.access) - len(unbound.access) <= 80
    assert "username" not in claims_of(holder.access)
    assert holder.me().json()["username"] == username


def test_a_bound_token_never_works_as_bearer(holder):
    response = holder.send("GET", "/api/me/", scheme="Bearer")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="api", error="invalid_token"'


def test_an_unbound_token_never_works_with_a_proof(client_of, ann):
    response = Holder().send("GET", "/api/me/", access=client_of(ann).access)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'DPoP algs="ES256 EdDSA", error="invalid_token"'


def test_an_unbound_token_works_as_before(client_of, ann):
    assert client_of(ann).get("/api/me/").status_code == 200


def test_a_bad_proof_never_falls_back_to_the_cookie(holder, browser_of, ann):
    response = browser_of(ann).get("/api/me/", headers={"authorization": f"DPoP {holder.access}", "dpop": "x"})
    assert refused(response)


def test_a_bound_token_of_an_ended_sign_in_is_refused(holder):
    assert ApiClient().post("/api/token/blacklist/", {"refresh": holder.refresh}).status_code == 200
    response = holder.send("GET", "/api/me/")
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


# Replay


def test_a_proof_is_accepted_once(holder):
    proof = holder.proof("GET", ME, holder.access)
    assert holder.send("GET", "/api/me/", proof=proof).status_code == 200
    assert refused(holder.send("GET", "/api/me/", proof=proof))


def test_one_client_does_not_spend_the_proof_ids_of_another(holder, bob, password):
    other = Holder()
    other.nonce = holder.nonce
    other.sign_in("bob", password)
    for each in (holder, other):
        assert each.send("GET", "/api/me/", proof=each.proof("GET", ME, each.access, jti="one")).status_code == 200


def test_a_proof_is_refused_again_after_a_flush_of_redis(holder):
    proof = holder.proof("GET", ME, holder.access)
    assert holder.send("GET", "/api/me/", proof=proof).status_code == 200
    cache.clear()
    assert holder.send("GET", "/api/me/", proof=proof).status_code == 401
    assert holder.me().status_code == 200


def test_a_proof_needs_no_nonce_once_the_store_is_old_enough(holder, time_machine):
    time_machine.move_to(time.time() + 400)
    holder.nonce = None
    holder.renew()
    holder.nonce = None
    proof = holder.proof("GET", ME, holder.access)
    assert holder.send("GET", "/api/me/", proof=proof).status_code == 200
    assert refused(holder.send("GET", "/api/me/", proof=proof))
    cache.clear()
    assert holder.send("GET", "/api/me/", proof=proof).status_code == 401


# Token endpoints


def test_a_bad_proof_creates_no_sign_in(ann, password):
    response = Holder().send("POST", "/api/token/", {"username": "ann", "password": password}, proof="x", access="")
    assert response.status_code == 400
    assert {name: response.json()[name] for name in ("error", "code")} == dict.fromkeys(
        ("error", "code"), "invalid_dpop_proof"
    )
    assert not ann.sign_ins.exists()


def test_a_nonce_is_required_with_the_error_of_oauth(ann, password):
    holder = Holder()
    holder.nonce = "x"
    response = holder.send("POST", "/api/token/", {"username": "ann", "password": password}, access="")
    assert response.status_code == 400
    assert response.json()["error"] == response.json()["code"] == "use_dpop_nonce"
    assert response.headers["DPoP-Nonce"]


@pytest.mark.parametrize("proof", [False, "other"])
def test_a_stolen_refresh_token_is_refused_without_an_event(holder, proof):
    thief = Holder()
    thief.nonce = holder.nonce
    proof = proof and thief.proof("POST", REFRESH)
    for _ in range(2):
        response = thief.send("POST", "/api/token/refresh/", {"refresh": holder.refresh}, proof=proof, access="")
        assert response.status_code == 400
        assert response.json()["error"] == "invalid_dpop_proof"
    assert holder.renew().status_code == 200


def test_a_bound_token_can_be_revoked_without_its_key(holder):
    for path in ("/api/token/verify/", "/api/token/blacklist/"):
        data = {"token": holder.refresh, "refresh": holder.refresh}
        assert ApiClient().post(path, data).status_code == 200
    assert holder.renew().status_code == 401


def test_introspection_returns_the_key_thumbprint(holder, staff, client_of):
    response = client_of(staff).http.generic(
        "POST",
        "/api/token/introspect/",
        f"token={holder.access}",
        "application/x-www-form-urlencoded",
        headers=bearer(client_of(staff).access),
    )
    assert response.json()["token_type"] == "DPoP"
    assert response.json()["cnf"] == claims_of(holder.access)["cnf"]


# Who must bind tokens


@pytest.mark.parametrize(("required", "names"), [("", []), ("staff", ["sue"]), ("all", ["ann", "sue"])])
def test_a_setting_chooses_whose_tokens_must_be_bound(ann, staff, password, required, names):
    with override_settings(DPOP_REQUIRED=required):
        for name in ("ann", "sue"):
            plain = ApiClient().sign_in(name, password)
            assert plain.status_code == (400 if name in names else 200)
            assert name not in names or plain.json()["error"] == "invalid_dpop_proof"
            assert Holder().sign_in(name, password).status_code == 200


def test_a_wrong_password_does_not_reveal_whether_dpop_is_required(staff):
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
