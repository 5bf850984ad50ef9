"""Pages that ask for a second factor: to enrol one, and to confirm who the user is."""

import base64
import json
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from accounts.models import Passkey, SecurityEvent, SignIn, User
from tests.accounts.second_step_pages import (
    ENROL,
    LOGIN,
    PRIVATE,
    SECOND_STEP,
    enter_password,
    is_signed_in,
    leads_to,
    options_of,
)
from tests.authenticator import Authenticator
from tests.conftest import sign_in_of
from tests.second_factors import App, add_app, add_passkey

pytestmark = pytest.mark.django_db


# Users who must have a second factor


@pytest.fixture
def enrolling(hers, settings, ann, password):
    settings.SECOND_FACTOR = "all"
    browser, response = enter_password(ann, password, next="/accounts/activity/")
    assert urlsplit(response.headers["Location"]).path == ENROL
    return browser


def test_without_the_required_factor_no_sign_in_starts(enrolling):
    assert not is_signed_in(enrolling)
    assert enrolling.get(ENROL).status_code == 200


@pytest.mark.parametrize("path", [*PRIVATE, SECOND_STEP])
def test_without_it_only_the_page_to_add_it_is_reached(enrolling, path):
    assert enrolling.get(path).status_code == 302


def test_a_new_app_finishes_the_sign_in(enrolling, ann):
    response = enrolling.post(f"{ENROL}app/new/?next=/accounts/activity/")
    page = enrolling.get(response.headers["Location"])
    secret = page.context["secret"]
    app = App(base64.b32decode(secret + "=" * (-len(secret) % 8)))
    wrong = enrolling.post(response.headers["Location"], {"code": app.wrong_code()})
    assert wrong.context["secret"] == secret
    assert not is_signed_in(enrolling)
    response = enrolling.post(response.headers["Location"], {"code": app.code()})
    assert len(response.context["codes"]) == 10
    assert response.context["next"] == "/accounts/activity/"
    assert is_signed_in(enrolling)
    assert sign_in_of(ann).methods == "password totp"


def test_a_new_passkey_finishes_the_sign_in(enrolling, ann):
    options = options_of(enrolling, f"{ENROL}passkey/")
    credential = Authenticator().create(options["publicKey"])
    response = enrolling.post(ENROL, {"step": options["step"], "credential": json.dumps(credential)})
    assert len(response.context["codes"]) == 10
    assert is_signed_in(enrolling)
    assert sign_in_of(ann).methods == "password passkey"


def test_a_step_to_enrol_adds_no_second_factor_later(settings, enrolling, hers, ann):
    options = options_of(enrolling, f"{ENROL}passkey/")
    # Ann adds an app elsewhere meanwhile.
    settings.SECOND_FACTOR = "offered"
    add_app(hers)
    settings.SECOND_FACTOR = "all"
    credential = Authenticator().create(options["publicKey"])
    response = enrolling.post(ENROL, {"step": options["step"], "credential": json.dumps(credential)})
    assert leads_to(response, LOGIN)
    assert Passkey.objects.of(ann).count() == 0
    assert not is_signed_in(enrolling)


def test_a_sign_up_leads_to_the_page_to_add_one(settings, browser, password):
    settings.SECOND_FACTOR = "all"
    here = browser()
    form = {"username": "zoe", "email": "zoe@example.org", "password1": password}
    assert leads_to(here.post("/accounts/signup/", form), ENROL)
    assert not is_signed_in(here)


# Confirm


@pytest.fixture
def stale(clock, half, app):
    half.post(SECOND_STEP, {"code": app.code()})
    clock.shift(timedelta(minutes=16))
    return half


def test_a_password_does_not_confirm_with_a_second_factor(stale, password):
    page = stale.get("/accounts/confirm/").content.decode()
    assert 'name="password"' not in page
    assert stale.post("/accounts/confirm/", {"password": password, "next": "/accounts/email/"}).status_code == 200
    assert stale.get("/accounts/email/").status_code == 302


def test_a_code_confirms(stale, app):
    assert leads_to(
        stale.post("/accounts/confirm/", {"code": app.code(), "next": "/accounts/email/"}), "/accounts/email/"
    )
    assert stale.get("/accounts/email/").status_code == 200


def test_a_wrong_code_confirms_nothing(stale, app):
    assert stale.post("/accounts/confirm/", {"code": app.wrong_code()}).status_code == 200
    assert stale.get("/accounts/email/").status_code == 302


def test_a_passkey_confirms(stale, hers, app):
    hers.renew()
    hers.post("/api/reauthenticate/", {"code": app.code()})
    passkey = add_passkey(hers)
    options = options_of(stale, "/accounts/confirm/passkey/")
    form = {"step": options["step"], "credential": json.dumps(passkey.get(options["publicKey"]))}
    assert leads_to(stale.post("/accounts/confirm/", {**form, "next": "/accounts/email/"}), "/accounts/email/")
    assert stale.get("/accounts/email/").status_code == 200


def test_the_answer_of_a_passkey_confirms_once(stale, hers, app):
    hers.renew()
    hers.post("/api/reauthenticate/", {"code": app.code()})
    passkey = add_passkey(hers)
    options = options_of(stale, "/accounts/confirm/passkey/")
    form = {"step": options["step"], "credential": json.dumps(passkey.get(options["publicKey"]))}
    assert leads_to(stale.post("/accounts/confirm/", form), "/")
    assert "This step is not valid" in stale.post("/accounts/confirm/", form).content.decode()


def test_a_sign_in_of_level_1_confirms_with_the_second_factor(browser_of, ann, hers):
    before = browser_of(ann)
    app, _codes = add_app(hers)
    assert leads_to(before.get("/accounts/email/"), "/accounts/confirm/")
    assert leads_to(before.get("/accounts/clients/new/"), "/accounts/confirm/")
    before.post("/accounts/confirm/", {"code": app.code()})
    assert before.get("/accounts/email/").status_code == 200
    assert SignIn.objects.get(user=ann, kind="browser").level == 2


def test_an_old_sign_in_of_level_1_connects_no_client(browser_of, ann, hers):
    before = browser_of(ann)
    add_app(hers)
    before.post("/accounts/clients/new/", {"name": "thief"})
    assert SignIn.objects.filter(user=ann, kind="client").count() == 1


@pytest.mark.parametrize("path", ["/accounts/password_change/", "/accounts/delete/"])
def test_forms_with_the_password_ask_for_the_second_factor_too(stale, path):
    assert leads_to(stale.get(path), "/accounts/confirm/")


def test_an_account_is_deleted_after_a_second_factor(stale, app, ann):
    stale.post("/accounts/delete/", {})
    assert User.objects.filter(pk=ann.pk).exists()
    stale.post("/accounts/confirm/", {"code": app.code()})
    assert stale.post("/accounts/delete/", {}).status_code == 200
    assert not User.objects.filter(pk=ann.pk).exists()


def test_without_a_second_factor_the_password_confirms_again(stale, clock, app, ann, hers, password):
    stale.post("/accounts/confirm/", {"code": app.code()})
    hers.renew()
    factor = hers.get("/api/factors/").json()["results"][0]["id"]
    stale.post(f"/accounts/security/{factor}/remove/")
    clock.shift(timedelta(minutes=16))
    assert leads_to(
        stale.post("/accounts/confirm/", {"password": password, "next": "/accounts/email/"}), "/accounts/email/"
    )
    assert stale.get("/accounts/email/").status_code == 200
    assert SecurityEvent.objects.filter(user=ann, type="factor_removed").exists()
