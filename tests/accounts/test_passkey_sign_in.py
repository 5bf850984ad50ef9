"""The sign-in page with a passkey alone."""

import json

import pytest
from django.conf import settings as project_settings

from accounts.models import User
from tests.accounts.second_step_pages import LOGIN, is_signed_in, leads_to, options_of, sign_in_with
from tests.authenticator import USER_PRESENT, Authenticator
from tests.conftest import sign_in_of

pytestmark = pytest.mark.django_db


def test_a_passkey_signs_in_without_password(browser, passkey, ann):
    here = browser()
    assert leads_to(sign_in_with(passkey, here), "/")
    assert is_signed_in(here)
    assert sign_in_of(ann).methods == "passkey"


def test_a_passkey_sign_in_keeps_the_next_page_and_stays(browser, passkey, ann):
    here = browser()
    assert leads_to(sign_in_with(passkey, here, next="/accounts/activity/", keep="on"), "/accounts/activity/")
    assert sign_in_of(ann).idle_timeout == project_settings.REMEMBER_ME_IDLE_TIMEOUT


def test_the_options_name_no_user(browser, passkey):
    options = options_of(browser(), f"{LOGIN}passkey/")["publicKey"]
    assert (options["allowCredentials"], options["userVerification"]) == ([], "required")


def test_the_options_take_no_statement(browser, passkey, django_assert_num_queries):
    here = browser()
    with django_assert_num_queries(0):
        here.get(f"{LOGIN}passkey/")


def test_an_unknown_passkey_is_signalled_to_the_browser(browser, ann):
    unknown = Authenticator(user_handle=b"x" * 32)
    response = sign_in_with(unknown, browser())
    assert response.status_code == 404
    assert response.context["signals"]["unknown"]["rpId"] == "testserver"
    assert "No account has this passkey" in response.content.decode()


def test_a_known_passkey_that_fails_is_not_signalled(browser, passkey):
    here = browser()
    options = options_of(here, f"{LOGIN}passkey/")
    response = sign_in_with(passkey, here, passkey.get(options["publicKey"], origin="https://evil.example.org"))
    assert response.status_code == 400
    assert "passkey-signals" not in response.content.decode()
    assert not is_signed_in(here)


def test_a_passkey_without_user_verification_is_refused(browser, passkey):
    here = browser()
    options = options_of(here, f"{LOGIN}passkey/")
    credential = passkey.get(options["publicKey"], flags=USER_PRESENT)
    response = here.post(LOGIN, {"step": options["step"], "credential": json.dumps(credential)})
    assert response.status_code == 400
    assert not is_signed_in(here)


def test_the_answer_of_a_passkey_works_once(browser, passkey):
    here, there = browser(), browser()
    options = options_of(here, f"{LOGIN}passkey/")
    form = {"step": options["step"], "credential": json.dumps(passkey.get(options["publicKey"]))}
    assert leads_to(here.post(LOGIN, form), "/")
    assert there.post(LOGIN, form).status_code == 400
    assert not is_signed_in(there)


def test_a_passkey_of_a_deactivated_user_is_refused(browser, passkey, ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)
    here = browser()
    assert sign_in_with(passkey, here).status_code == 400
    assert not is_signed_in(here)


def test_without_second_factors_the_page_has_no_passkeys(settings, browser, passkey):
    settings.SECOND_FACTOR = "off"
    here = browser()
    page = here.get(LOGIN).content.decode()
    assert "passkeys.js" not in page
    assert "webauthn" not in page
    assert here.get(f"{LOGIN}passkey/").status_code == 404
