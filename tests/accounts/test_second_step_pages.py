"""Pages of a sign-in in two steps: until the second factor is proved, no user is signed in."""

import json
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings as project_settings

from accounts import email_addresses
from accounts.models import SignIn, User
from tests.accounts.second_step_pages import (
    ENROL,
    LOGIN,
    PRIVATE,
    SECOND_STEP,
    enter_password,
    is_signed_in,
    leads_to,
    options_of,
    second_step_options,
)
from tests.authenticator import USER_PRESENT
from tests.conftest import newest_link, sign_in_of
from tests.second_factors import add_app, add_passkey

pytestmark = pytest.mark.django_db

NEW_PASSWORD = "a quite different passphrase"


# After the password


def test_the_password_alone_starts_no_sign_in(half):
    assert not is_signed_in(half)
    assert SignIn.objects.filter(kind="browser").count() == 0


def test_the_session_of_the_step_has_no_user(half):
    assert set(half.session.keys()) == {"second_step", "_session_expiry"}


def test_the_page_shows_the_methods_of_the_account(half):
    page = half.get(SECOND_STEP).content.decode()
    assert 'name="code"' in page
    assert 'name="recovery_code"' in page
    assert "data-passkey" not in page


def test_a_code_signs_in(half, app, ann):
    assert leads_to(half.post(SECOND_STEP, {"code": app.code()}), "/")
    assert is_signed_in(half)
    assert sign_in_of(ann).methods == "password totp"


def test_a_code_is_accepted_with_a_space(half, app):
    code = app.code()
    assert leads_to(half.post(SECOND_STEP, {"code": f"{code[:3]} {code[3:]}"}), "/")


def test_a_recovery_code_signs_in(hers, ann, password):
    codes = add_app(hers)[1]
    browser, _response = enter_password(ann, password)
    assert leads_to(browser.post(SECOND_STEP, {"recovery_code": codes[0]}), "/")
    assert sign_in_of(ann).methods == "password recovery_code"


def test_a_passkey_finishes_the_second_step(ann, password, passkey):
    browser, _response = enter_password(ann, password)
    options = options_of(browser, f"{SECOND_STEP}passkey/")
    credential = passkey.get(options["publicKey"], flags=USER_PRESENT)
    assert leads_to(browser.post(SECOND_STEP, {"step": "", "credential": json.dumps(credential)}), "/")
    assert sign_in_of(ann).methods == "password passkey"


def test_the_next_page_is_that_of_the_first_step(ann, password, app):
    browser, response = enter_password(ann, password, next="/accounts/activity/")
    location = response.headers["Location"]
    assert parse_qs(urlsplit(location).query) == {"next": ["/accounts/activity/"]}
    assert leads_to(browser.post(location, {"code": app.code()}), "/accounts/activity/")


@pytest.mark.parametrize("url", ["https://evil.example.org/", "//evil.example.org/", "javascript:alert(1)"])
def test_another_site_is_no_next_page(half, app, url):
    assert leads_to(half.post(SECOND_STEP, {"code": app.code(), "next": url}), "/")


def test_to_stay_signed_in_is_kept_over_the_second_step(ann, password, app):
    browser, _response = enter_password(ann, password, keep="on")
    response = browser.post(SECOND_STEP, {"code": app.code()})
    assert response.cookies[project_settings.SESSION_COOKIE_NAME]["max-age"]
    assert sign_in_of(ann).idle_timeout == project_settings.REMEMBER_ME_IDLE_TIMEOUT


def test_without_it_the_session_ends_with_the_browser(half, app):
    response = half.post(SECOND_STEP, {"code": app.code()})
    assert not response.cookies[project_settings.SESSION_COOKIE_NAME]["max-age"]


def test_the_second_step_replaces_the_session_key(half, app, browser):
    replay = browser()
    name = project_settings.SESSION_COOKIE_NAME
    replay.cookies[name] = half.cookies[name].value
    half.post(SECOND_STEP, {"code": app.code()})
    assert not is_signed_in(replay)


def test_the_second_step_ends_the_sign_in_of_another_user(browser_of, ann, bob, password, app):
    browser = browser_of(bob)
    enter_password(ann, password, browser)
    assert sign_in_of(bob).ended_at is not None
    assert not is_signed_in(browser)


# Refusals


def test_a_wrong_code_is_explained_and_starts_no_sign_in(half, app):
    response = half.post(SECOND_STEP, {"code": app.wrong_code()})
    assert response.status_code == 200
    assert "The code or passkey is wrong" in response.content.decode()
    assert not is_signed_in(half)


def test_after_a_wrong_code_the_right_one_signs_in(half, app):
    half.post(SECOND_STEP, {"code": app.wrong_code()})
    assert leads_to(half.post(SECOND_STEP, {"code": app.code()}), "/")


@pytest.mark.parametrize("text", ["", "x" * 200_000, "a\x00b", "１２３４５６"])
def test_malformed_codes_are_refused(half, text):
    assert half.post(SECOND_STEP, {"code": text}).status_code == 200
    assert half.post(SECOND_STEP, {"recovery_code": text}).status_code == 200
    assert not is_signed_in(half)


@pytest.mark.parametrize("text", ["", "x", "[]", "{}", "[" * 10_000, '{"id": 1}', '{"id": "\\ud800"}', "{" * 20_000])
def test_malformed_passkeys_are_refused(ann, password, passkey, browser, text):
    half, _response = enter_password(ann, password)
    assert half.post(SECOND_STEP, {"credential": text}).status_code == 200
    assert not is_signed_in(half)
    other = browser()
    step = options_of(other, f"{LOGIN}passkey/")["step"]
    assert other.post(LOGIN, {"step": step, "credential": text}).status_code in (200, 400, 404)
    assert not is_signed_in(other)


def test_too_many_wrong_codes_are_refused_with_429(half, app):
    for _attempt in range(5):
        half.post(SECOND_STEP, {"code": app.wrong_code()})
    response = half.post(SECOND_STEP, {"code": app.code()})
    assert response.status_code == 429
    assert "Retry-After" in response.headers
    assert not is_signed_in(half)


def test_a_method_that_the_account_lacks_is_refused(half, bob, client_of):
    bobs = add_passkey(client_of(bob))
    options = second_step_options(half)
    response = half.post(SECOND_STEP, {"credential": json.dumps(bobs.get(options["publicKey"]))})
    assert response.status_code == 200
    assert not is_signed_in(half)


def test_the_passkey_of_another_user_is_refused(ann, password, passkey, bob, client_of):
    bobs = add_passkey(client_of(bob))
    browser, _response = enter_password(ann, password)
    response = browser.post(
        SECOND_STEP, {"credential": json.dumps(bobs.get(second_step_options(browser)["publicKey"]))}
    )
    assert "The code or passkey is wrong" in response.content.decode()
    assert not is_signed_in(browser)


def test_the_code_of_another_user_is_refused(half, bob, client_of):
    bobs_app, _codes = add_app(client_of(bob))
    half.post(SECOND_STEP, {"code": bobs_app.code()})
    assert not is_signed_in(half)


def test_without_a_step_the_page_leads_to_the_sign_in_page(browser):
    assert leads_to(browser().get(SECOND_STEP), LOGIN)
    assert leads_to(browser().post(SECOND_STEP, {"code": "123456"}), LOGIN)


def test_an_expired_step_leads_to_the_sign_in_page(clock, ann, password, app):
    half, response = enter_password(ann, password, next="/accounts/activity/")
    clock.shift(timedelta(minutes=5, seconds=1))
    response = half.post(response.headers["Location"], {"code": app.code()})
    assert response.headers["Location"] == f"{LOGIN}?next=/accounts/activity/"
    assert not is_signed_in(half)


def test_a_used_step_starts_no_sign_in(half, app, browser, clock):
    # Another browser with the same step in its session.
    copy, step = browser(), half.session["second_step"]
    half.post(SECOND_STEP, {"code": app.code()})
    plant(copy, step)
    clock.shift(timedelta(seconds=60))
    assert leads_to(copy.post(SECOND_STEP, {"code": app.code()}), LOGIN)
    assert not is_signed_in(copy)


def plant(browser, step):
    """Puts a step in the session of a browser."""
    session = browser.session
    session["second_step"] = step
    session.save()


def test_a_step_of_the_api_is_refused(browser, anonymous, ann, password, app):
    step = anonymous.post("/api/token/", {"username": ann.username, "password": password}).json()["step"]
    other = browser()
    plant(other, step)
    assert leads_to(other.post(SECOND_STEP, {"code": app.code()}), LOGIN)


def test_after_the_password_was_changed_the_step_is_refused(half, app, ann):
    ann.set_password(NEW_PASSWORD)
    ann.save()
    assert leads_to(half.post(SECOND_STEP, {"code": app.code()}), LOGIN)
    assert not is_signed_in(half)


def test_a_user_deactivated_meanwhile_is_refused(half, app, ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert leads_to(half.post(SECOND_STEP, {"code": app.code()}), LOGIN)
    assert not is_signed_in(half)


def test_after_all_sign_ins_ended_the_step_is_refused(half, app, hers):
    hers.post("/api/sign-ins/end-all/")
    assert leads_to(half.post(SECOND_STEP, {"code": app.code()}), LOGIN)


def test_back_from_the_next_page_does_not_start_a_second_sign_in(half, app, ann):
    half.post(SECOND_STEP, {"code": app.code()})
    assert leads_to(half.get(SECOND_STEP), "/")
    assert leads_to(half.post(SECOND_STEP, {"code": app.code(1)}), "/")
    assert SignIn.objects.filter(user=ann, kind="browser").count() == 1


@pytest.mark.parametrize("path", PRIVATE)
def test_a_half_signed_in_browser_reaches_no_private_page(half, path):
    response = half.get(path)
    assert response.status_code == 302
    assert urlsplit(response.headers["Location"]).path in (LOGIN, "/admin/login/")


def test_a_half_signed_in_browser_changes_no_factor(half, hers):
    [factor, *_codes] = hers.get("/api/factors/").json()["results"]
    for path in ("app/new/", "passkeys/new/", "recovery-codes/", f"{factor['id']}/remove/", f"{factor['id']}/name/"):
        assert leads_to(half.post(f"/accounts/security/{path}", {"name": "thief"}), LOGIN)
    assert leads_to(half.post(f"{ENROL}app/new/"), LOGIN)
    assert leads_to(half.get(f"{ENROL}passkey/"), LOGIN)
    assert half.get("/api/factors/").status_code == 401
    assert hers.get("/api/factors/").json()["results"][0]["name"] == factor["name"]


def test_a_reset_by_mail_does_not_replace_the_second_step(ann, app, reset_link, browser):
    uid, token = reset_link(ann)
    other = browser()
    other.post(f"/accounts/reset/{uid}/{token}/", {"new_password1": NEW_PASSWORD})
    assert not is_signed_in(other)
    other, response = enter_password(ann, NEW_PASSWORD, other)
    assert leads_to(response, SECOND_STEP)
    assert not is_signed_in(other)


def test_an_email_confirmation_starts_no_sign_in(
    settings, half, ann, app, mailoutbox, django_capture_on_commit_callbacks
):
    settings.SITE_URL = "https://testserver"
    User.objects.filter(pk=ann.pk).update(email_confirmed_at=None)
    with django_capture_on_commit_callbacks(execute=True):
        email_addresses.send_confirmation(User.objects.get(pk=ann.pk))
    link = newest_link(mailoutbox, r"/accounts/email/\S+")
    assert half.post(link.group()).status_code == 200
    assert not is_signed_in(half)


def test_the_page_needs_no_session_of_another_browser(half, app, browser):
    assert leads_to(browser().post(SECOND_STEP, {"code": app.code()}), LOGIN)


def test_five_wrong_codes_send_a_mail(half, app, ann, mails_of):
    def guess():
        for _attempt in range(5):
            half.post(SECOND_STEP, {"code": app.wrong_code()})

    assert "Someone knows your password" in [mail.subject for mail in mails_of(guess)][-1]
