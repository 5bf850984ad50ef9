"""The user's second factors over the API: list, add, rename, remove, and the proof that each change asks for."""

import base64
import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from accounts import registration
from accounts.models import AuthenticatorApp, Passkey, RecoveryCode, SecurityEvent, SignIn
from tests.authenticator import USER_PRESENT, USER_VERIFIED, Authenticator
from tests.conftest import ApiClient, sign_in_of
from tests.second_factors import SECOND_STEP, App, add_app, add_passkey, password_step, send_passkey

pytestmark = pytest.mark.django_db

LONG_AGO = timedelta(minutes=16)
SENSITIVE = [
    ("POST", "/api/factors/totp/"),
    ("POST", "/api/factors/totp/confirm/"),
    ("POST", "/api/factors/passkey/options/"),
    ("POST", "/api/factors/passkey/"),
    ("POST", "/api/factors/recovery-codes/"),
    ("PATCH", "/api/factors/{id}/"),
    ("DELETE", "/api/factors/{id}/"),
    ("DELETE", "/api/sign-ins/{id}/"),
    ("POST", "/api/sign-ins/end-all/"),
    ("POST", "/api/sign-ins/end-others/"),
]


@pytest.fixture
def stale(hers):
    """Makes the last proof of a user's sign-ins too old."""

    def make_stale(user):
        SignIn.objects.filter(user=user).update(authenticated_at=sign_in_of(user).authenticated_at - LONG_AGO)

    return make_stale


def kinds(client):
    return [each["kind"] for each in client.get("/api/factors/").json()["results"]]


def id_of(client, kind):
    return next(each["id"] for each in client.get("/api/factors/").json()["results"] if each["kind"] == kind)


def refused(response, status, code):
    assert (response.status_code, response.json()["code"]) == (status, code), response.content
    return True


# Add


def test_an_account_begins_without_factors(hers):
    assert hers.get("/api/factors/").json() == {"results": []}


def test_the_uri_is_read_by_a_library_of_another_project(hers, ann, password):
    made = hers.post("/api/factors/totp/", {"name": "Phone"}).json()
    app = pyotp.parse_uri(made["uri"])
    assert (app.name, app.issuer) == ("ann", "Wristband & Passport")
    assert parse_qs(urlsplit(made["uri"]).query)["secret"] == [made["secret"]]
    confirmed = hers.post("/api/factors/totp/confirm/", {"id": made["id"], "code": app.now()})
    assert len(confirmed.json()["recovery_codes"]) == 10


def test_the_qr_code_has_no_inline_style(hers):
    svg = hers.post("/api/factors/totp/", {}).json()["qr_svg"]
    assert svg.startswith("<svg")
    assert "style" not in svg


def test_an_app_is_no_factor_before_its_first_code(hers, client_of, ann):
    hers.post("/api/factors/totp/", {})
    assert kinds(hers) == []
    client_of(ann)


def test_a_wrong_first_code_adds_nothing(hers):
    made = hers.post("/api/factors/totp/", {}).json()
    secret = base64.b32decode(made["secret"])
    body = {"id": made["id"], "code": App(secret).wrong_code()}
    assert refused(hers.post("/api/factors/totp/confirm/", body), 400, "code_wrong")
    assert kinds(hers) == []


def test_the_app_of_another_user_cannot_be_confirmed(hers, bob, client_of):
    made = client_of(bob).post("/api/factors/totp/", {}).json()
    body = {"id": made["id"], "code": pyotp.parse_uri(made["uri"]).now()}
    assert hers.post("/api/factors/totp/confirm/", body).status_code == 404


def test_only_the_first_factor_brings_recovery_codes(hers):
    _app, codes = add_app(hers)
    assert len(set(codes)) == 10
    assert all(re.fullmatch(r"[0-9](-[A-Z2-7]{4}){4}", code) for code in codes)
    assert add_app(hers)[1] == []
    assert send_passkey(hers, Authenticator()).json()["recovery_codes"] == []


def test_the_list_names_the_factors_without_secrets(hers):
    add_app(hers)
    add_passkey(hers)
    answer = hers.get("/api/factors/")
    assert kinds(hers) == ["passkey", "totp", "recovery_codes"]
    passkey, app, codes = answer.json()["results"]
    assert app.keys() == {"id", "kind", "name", "created_at", "last_used_at", "is_disabled"}
    assert passkey.keys() == app.keys() | {"aaguid", "transports", "is_backed_up"}
    assert codes["left"] == 10


def test_a_secret_is_stored_encrypted_and_codes_are_hashed(hers):
    made = hers.post("/api/factors/totp/", {}).json()
    raw = base64.b32decode(made["secret"])
    stored = bytes(AuthenticatorApp.objects.get().secret)
    assert raw not in stored
    assert made["secret"].encode() not in stored
    _app, codes = add_app(hers)
    hashes = list(RecoveryCode.objects.values_list("hash", flat=True))
    assert len(hashes) == 10
    assert not any(code.replace("-", "")[1:] in each for code in codes for each in hashes)


def test_user_handles_are_random_and_the_same_for_one_user(hers, ann):
    add_passkey(hers)
    add_passkey(hers)
    handles = {bytes(each.user_handle) for each in Passkey.objects.all()}
    assert [len(each) for each in handles] == [32]


def test_a_passkey_is_not_added_twice_nor_to_two_accounts(hers, bob, client_of):
    authenticator = add_passkey(hers)
    assert refused(send_passkey(hers, authenticator), 409, "passkey_exists")
    assert refused(send_passkey(client_of(bob), authenticator), 409, "passkey_exists")


def test_known_passkeys_are_excluded_from_the_options(hers):
    add_passkey(hers)
    options = hers.post("/api/factors/passkey/options/", {}).json()["publicKey"]
    assert len(options["excludeCredentials"]) == 1
    assert options["authenticatorSelection"]["residentKey"] == "required"
    assert options["attestation"] == "none"


def test_the_step_of_a_new_passkey_works_once(hers):
    options = hers.post("/api/factors/passkey/options/", {}).json()
    bodies = [
        {"step": options["step"], "credential": Authenticator().create(options["publicKey"])} for _each in range(2)
    ]
    assert hers.post("/api/factors/passkey/", bodies[0]).status_code == 201
    assert refused(hers.post("/api/factors/passkey/", bodies[1]), 400, "step_not_valid")


def test_the_step_of_a_new_passkey_is_of_one_sign_in(hers, ann, client_of, bob):
    other, bobs = client_of(ann), client_of(bob)
    options = hers.post("/api/factors/passkey/options/", {}).json()
    body = {"step": options["step"], "credential": Authenticator().create(options["publicKey"])}
    assert refused(other.post("/api/factors/passkey/", body), 400, "step_not_valid")
    assert refused(bobs.post("/api/factors/passkey/", body), 400, "step_not_valid")


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": "https://evil.example"},
        {"rp_id": "evil.example"},
        {"challenge": "AAAA"},
        {"crossOrigin": True},
        {"flags": USER_PRESENT},
        {"flags": USER_VERIFIED},
        {"type": "webauthn.get"},
    ],
)
def test_a_new_passkey_with_a_bad_answer_is_refused(hers, changes):
    assert refused(send_passkey(hers, Authenticator(), **changes), 400, "passkey_refused")


def test_a_conditional_create_needs_no_gesture(hers):
    authenticator = Authenticator()
    options = hers.post("/api/factors/passkey/options/", {"conditional": True}).json()
    body = {"step": options["step"], "credential": authenticator.create(options["publicKey"], flags=0)}
    assert hers.post("/api/factors/passkey/", body).status_code == 201


@pytest.mark.parametrize("credential", [{}, {"id": 5}, {"id": "x", "response": []}, {"id": "é", "response": {}}])
def test_a_malformed_credential_is_refused(hers, anonymous, credential):
    options = hers.post("/api/factors/passkey/options/", {}).json()
    added = hers.post("/api/factors/passkey/", {"step": options["step"], "credential": credential})
    assert added.status_code == 400
    options = anonymous.post("/api/token/passkey/options/", {}).json()
    body = {"step": options["step"], "credential": credential}
    assert anonymous.post("/api/token/passkey/", body).status_code in (400, 401, 404)


# Rename and remove


def test_a_factor_is_renamed(hers):
    add_app(hers)
    response = hers.patch(f"/api/factors/{id_of(hers, 'totp')}/", {"name": "Phone"})
    assert response.json()["name"] == "Phone"
    assert SecurityEvent.objects.filter(type="factor_renamed").count() == 1


@pytest.mark.parametrize("name", ["a\nb", "‮evil", "x" * 61])
def test_a_bad_name_is_refused(hers, name):
    add_app(hers)
    assert hers.patch(f"/api/factors/{id_of(hers, 'totp')}/", {"name": name}).status_code == 400


def test_the_factor_of_another_user_is_not_found(hers, bob, client_of):
    bobs = client_of(bob)
    add_app(bobs)
    path = f"/api/factors/{id_of(bobs, 'totp')}/"
    assert hers.patch(path, {"name": "x"}).status_code == 404
    assert hers.delete(path).status_code == 404
    assert "totp" in kinds(bobs)


def test_a_removed_factor_no_longer_signs_in(hers, ann, password):
    app, _codes = add_app(hers)
    add_passkey(hers)
    step = password_step(ann, password)
    assert hers.delete(f"/api/factors/{id_of(hers, 'totp')}/").status_code == 204
    response = ApiClient().post(SECOND_STEP, {"step": step["step"], "code": app.code()})
    assert response.status_code in (400, 401)


def test_removing_the_last_factor_ends_the_other_sign_ins(hers, ann, client_of):
    other = client_of(ann)
    add_app(hers)
    assert hers.delete(f"/api/factors/{id_of(hers, 'totp')}/").status_code == 204
    assert kinds(hers) == []
    assert other.get("/api/me/").status_code == 401
    assert hers.get("/api/me/").status_code == 200
    assert SignIn.objects.get(ended_at__isnull=False).end_reason == "factor_removed"


def test_removing_one_of_two_ends_no_sign_in(hers, ann, client_of):
    other = client_of(ann)
    add_app(hers)
    add_passkey(hers)
    hers.delete(f"/api/factors/{id_of(hers, 'totp')}/")
    assert other.get("/api/me/").status_code == 200


def test_new_recovery_codes_replace_the_old_ones(hers, ann, password):
    _app, old = add_app(hers)
    new = hers.post("/api/factors/recovery-codes/").json()["recovery_codes"]
    step = password_step(ann, password)
    answers = [ApiClient().post(SECOND_STEP, {"step": step["step"], "recovery_code": code[0]}) for code in (old, new)]
    assert [answer.status_code for answer in answers] == [401, 200]


def test_recovery_codes_need_a_second_factor(hers):
    assert refused(hers.post("/api/factors/recovery-codes/"), 409, "no_second_factor")


@pytest.mark.parametrize("change", ["add", "remove", "codes"])
def test_each_change_writes_an_event_and_a_mail(hers, mails_of, change):
    add_passkey(hers)
    work = {
        "add": lambda: add_app(hers),
        "remove": lambda: hers.delete(f"/api/factors/{id_of(hers, 'passkey')}/"),
        "codes": lambda: hers.post("/api/factors/recovery-codes/"),
    }[change]
    type = {"add": "factor_added", "remove": "factor_removed", "codes": "recovery_codes_made"}[change]
    before = SecurityEvent.objects.filter(type=type).count()
    assert len(mails_of(work)) == 1
    assert SecurityEvent.objects.filter(type=type).count() == before + 1


def test_a_service_can_have_no_factor(db):
    user, secret = registration.create_service("billing", [])
    client = ApiClient()
    client.sign_in(user.username, secret)
    assert refused(client.post("/api/factors/totp/", {}), 403, "second_factor_unavailable")


def test_with_the_setting_off_none_can_be_added(settings, hers):
    settings.SECOND_FACTOR = "off"
    assert refused(hers.post("/api/factors/totp/", {}), 403, "second_factor_unavailable")


# Recent proof


@pytest.mark.parametrize(("method", "path"), SENSITIVE)
def test_a_change_asks_for_a_recent_proof(hers, ann, stale, method, path):
    add_app(hers)
    path = path.format(id=id_of(hers, "totp") if "factors" in path else sign_in_of(ann).pk)
    stale(ann)
    response = hers.request(method, path, {})
    assert refused(response, 403, "recent_sign_in_required")
    assert response.json()["methods"] == ["totp", "recovery_code"]
    challenge = response.headers["WWW-Authenticate"]
    assert challenge == (
        'Bearer realm="api", error="insufficient_user_authentication", acr_values="aal2", max_age="900"'
    )


def test_a_sign_in_by_password_alone_changes_nothing_once_there_is_a_factor(hers, ann, client_of):
    other = client_of(ann)
    add_app(hers)
    response = other.delete(f"/api/factors/{id_of(hers, 'totp')}/")
    assert refused(response, 403, "recent_sign_in_required")


def test_the_password_is_no_proof_for_an_account_with_a_factor(hers, ann, password, stale):
    add_app(hers)
    stale(ann)
    for path in ("/api/reauthenticate/", "/api/password/confirm/"):
        response = hers.post(path, {"password": password})
        assert refused(response, 403, "recent_sign_in_required")
    assert hers.post("/api/factors/totp/", {}).status_code == 403


def test_a_changed_password_is_no_proof_of_the_second_factor(hers, ann, password, stale):
    add_app(hers)
    stale(ann)
    body = {"old_password": password, "new_password": "quiet copper lantern drifts"}
    assert hers.post("/api/password/change/", body).status_code == 403
    assert hers.post("/api/factors/totp/", {}).status_code == 403


def test_a_code_confirms_the_user(hers, ann, stale):
    app, _codes = add_app(hers)
    stale(ann)
    assert hers.post("/api/reauthenticate/", {"code": app.code()}).status_code == 204
    assert hers.post("/api/factors/totp/", {}).status_code == 201


def test_a_recovery_code_confirms_the_user(hers, ann, stale):
    _app, codes = add_app(hers)
    stale(ann)
    assert hers.post("/api/reauthenticate/", {"recovery_code": codes[0]}).status_code == 204


def test_a_passkey_confirms_the_user(hers, ann, stale):
    passkey = add_passkey(hers)
    stale(ann)
    options = hers.post("/api/reauthenticate/options/").json()
    body = {"step": options["step"], "credential": passkey.get(options["publicKey"])}
    assert hers.post("/api/reauthenticate/", body).status_code == 204
    assert refused(hers.post("/api/reauthenticate/", body), 400, "step_not_valid")


def test_the_password_confirms_a_user_without_a_factor(hers, ann, password, stale):
    stale(ann)
    assert hers.post("/api/reauthenticate/", {"password": password}).status_code == 204
    assert hers.post("/api/factors/totp/", {}).status_code == 201


def test_a_wrong_code_confirms_nothing(hers, ann, stale):
    app, _codes = add_app(hers)
    stale(ann)
    response = hers.post("/api/reauthenticate/", {"code": app.wrong_code()})
    assert refused(response, 400, "second_step_failed")
    assert hers.post("/api/factors/totp/", {}).status_code == 403


def test_a_confirmation_raises_the_level_of_the_sign_in(hers, ann, client_of):
    other = client_of(ann)
    app, _codes = add_app(hers)
    assert other.post("/api/reauthenticate/", {"code": app.code()}).status_code == 204
    assert sign_in_of(ann).methods == "password totp"
    assert other.post("/api/factors/totp/", {}).status_code == 201


def test_a_browser_gets_a_new_session_key(browser_of, ann, password, settings):
    browser = browser_of(ann)
    before = browser.cookies[settings.SESSION_COOKIE_NAME].value
    response = browser.post("/api/reauthenticate/", {"password": password}, "application/json")
    assert response.status_code == 204
    assert browser.cookies[settings.SESSION_COOKIE_NAME].value != before


def test_without_a_sign_in_nothing_is_changed(anonymous):
    for method, path in SENSITIVE:
        path = path.format(id="5f0c2a52-5d2e-4f0b-9c53-0c1f5f9a7c11")
        assert anonymous.request(method, path, {}).status_code == 401


def test_a_step_is_no_token(hers, ann, password):
    add_app(hers)
    step = password_step(ann, password)["step"]
    half = ApiClient(step)
    assert half.get("/api/factors/").status_code == 401
    assert half.post("/api/factors/totp/", {}).status_code == 401


@pytest.mark.parametrize("name", ["a\u202eb", "a\nb", "\ufeff", "n" * 61])
def test_a_name_with_invisible_characters_or_too_long_is_refused(hers, name):
    response = hers.post("/api/factors/totp/", {"name": name})
    assert (response.status_code, "name" in response.json()) == (400, True), response.content
