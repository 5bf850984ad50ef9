"""Second factors come along, or stop an import: none is dropped without a word."""

import re
import time

import pytest
from django.core.management import CommandError

from accounts.models import AuthenticatorApp, Passkey, SecurityEvent
from tests.authenticator import Authenticator
from tests.conftest import ApiClient
from tests.old_site import APP_SECRET, DAVE, OTP_KEY, PASSWORD, USER, live_sign_ins, users
from tests.second_factors import SECOND_STEP, App

pytestmark = [pytest.mark.django_db, pytest.mark.long]


def test_an_authenticator_app_comes_along_encrypted(run):
    secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    output = run([USER], mfa__authenticator=[{"id": 1, "user": 7, "type": "totp", "data": {"secret": secret}}])
    assert "authenticator apps: 1" in output
    app = AuthenticatorApp.objects.get()
    assert app.confirmed_at
    assert secret.encode() not in bytes(app.secret)
    response = ApiClient().sign_in("carol", PASSWORD)
    assert response.json()["methods"] == ["totp"]


def passkey_row(authenticator, user_id=7):
    # allauth's user handle: the id in base 36.
    options = {"user": {"id": "Nw"}, "challenge": "AAAA"}
    return {
        "id": 2,
        "user": user_id,
        "type": "webauthn",
        "data": {"name": "My key", "credential": authenticator.create(options)},
    }


def test_a_passkey_comes_along_and_signs_in(run):
    authenticator = Authenticator()
    assert "passkeys: 1" in run([USER], mfa__authenticator=[passkey_row(authenticator)])
    passkey = Passkey.objects.get()
    assert (passkey.name, passkey.transports, passkey.is_backed_up) == ("My key", "internal", True)
    options = ApiClient().post("/api/token/passkey/options/", {}).json()
    answer = {"step": options["step"], "credential": authenticator.get(options["publicKey"])}
    assert ApiClient().post("/api/token/passkey/", answer).status_code == 200
    assert SecurityEvent.objects.get(type="signed_in").user_id == 7


def test_a_passkey_of_two_users_comes_along_once(run):
    authenticator = Authenticator()
    rows = [passkey_row(authenticator), passkey_row(authenticator, user_id=8) | {"id": 3}]
    run(users(), "--resolve", mfa__authenticator=rows)
    assert Passkey.objects.get().user_id == 7


def lost_factors(run, **tables):
    """How many users a dry run names whose factor is lost."""
    found = re.search(r"^factor-lost: (\d+)", run([USER], "--dry-run", **tables), re.MULTILINE)
    return int(found[1]) if found else 0


UNREADABLE = [
    {"type": "totp", "data": {"secret": "not base32!"}},
    {"type": "totp", "data": {"secret": "JBSWY3DP"}},
    {"type": "totp", "data": {}},
    {"type": "webauthn", "data": {"name": "x", "credential": {"response": {"attestationObject": "AAAA"}}}},
    {"type": "sms", "data": {}},
]
APP_ROW = {"id": 1, "user": 7, "type": "totp", "data": {"secret": APP_SECRET}}
CODES_ROW = {"id": 2, "user": 7, "type": "recovery_codes", "data": {"seed": "abc", "used_mask": 0}}


@pytest.mark.parametrize("row", UNREADABLE)
def test_a_factor_that_cannot_be_read_stops_an_import(row, run):
    factors = {"mfa__authenticator": [{"id": 1, "user": 7, **row}]}
    assert lost_factors(run, **factors) == 1
    with pytest.raises(CommandError, match="Nothing was imported"):
        run([USER], **factors)


def test_no_sign_in_of_before_continues_without_its_factor(run, old_tokens):
    factors = {"mfa__authenticator": [{"id": 1, "user": 7, **UNREADABLE[0]}, APP_ROW | {"id": 3}]}
    for _run in range(2):
        run(users(), "--resolve", **factors)
        assert live_sign_ins() == {(8, "Previous site")}


def test_a_later_run_continues_no_sign_in_without_its_factor(run, request):
    factors = {"mfa__authenticator": [{"id": 1, "user": 7, **UNREADABLE[0]}]}
    run([USER], "--resolve", **factors)
    request.getfixturevalue("old_tokens")
    run([USER], **factors)
    assert live_sign_ins() == set()


def test_a_passkey_of_another_account_is_a_lost_factor(run):
    authenticator = Authenticator()
    run([DAVE], mfa__authenticator=[passkey_row(authenticator, user_id=8)])
    assert lost_factors(run, mfa__authenticator=[passkey_row(authenticator)]) == 1


def test_recovery_codes_beside_another_factor_are_counted(run):
    factors = [APP_ROW, CODES_ROW]
    assert lost_factors(run, mfa__authenticator=factors) == 0
    assert "users without their recovery codes: 1" in run([USER], mfa__authenticator=factors)


# Devices of django-otp

DEVICE = {"id": 1, "user": 7, "name": "default", "confirmed": True}
OTP_APP = DEVICE | {"key": OTP_KEY, "step": 30, "t0": 0, "digits": 6, "tolerance": 1, "drift": 0, "last_t": -1}


def test_an_authenticator_app_of_django_otp_comes_along(run):
    assert "authenticator apps: 1" in run([USER], otp_totp__totpdevice=[OTP_APP])
    step = ApiClient().sign_in("carol", PASSWORD).json()["step"]
    code = App(bytes.fromhex(OTP_KEY)).code()
    assert ApiClient().post(SECOND_STEP, {"step": step, "code": code}).status_code == 200


def test_a_code_that_the_site_before_has_accepted_is_used(run):
    run([USER], otp_totp__totpdevice=[OTP_APP | {"last_t": int(time.time()) // 30 + 2}])
    step = ApiClient().sign_in("carol", PASSWORD).json()["step"]
    code = App(bytes.fromhex(OTP_KEY)).code()
    assert ApiClient().post(SECOND_STEP, {"step": step, "code": code}).status_code == 401


@pytest.mark.parametrize(
    "change", [{"digits": 8}, {"step": 60}, {"t0": 5}, {"drift": 4}, {"key": "no"}, {"key": "3132"}]
)
def test_an_app_with_other_codes_is_a_lost_factor(change, run):
    assert lost_factors(run, otp_totp__totpdevice=[OTP_APP | change]) == 1


@pytest.mark.parametrize("model", ["otp_email__emaildevice", "otp_static__staticdevice", "two_factor__phonedevice"])
def test_another_device_is_a_lost_factor(model, run):
    assert lost_factors(run, **{model: [DEVICE]}) == 1
    assert lost_factors(run, **{model: [DEVICE | {"confirmed": False}]}) == 0


def test_a_table_with_a_similar_name_has_no_factors(run):
    assert lost_factors(run, otp_log__entry=[{"id": 1, "user": 7, "text": "signed in"}]) == 0


def test_codes_of_django_otp_beside_an_app_are_counted(run):
    factors = {"otp_totp__totpdevice": [OTP_APP], "otp_static__staticdevice": [DEVICE]}
    assert lost_factors(run, **factors) == 0
    assert "users without their recovery codes: 1" in run([USER], **factors)
