"""Pages of a sign-in in two steps: until the second factor is proved, nobody is signed in."""

import base64
import json
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings as project_settings

from accounts import email_addresses, mail
from accounts.models import Passkey, SecurityEvent, SignIn, User
from tests.authenticator import USER_PRESENT, Authenticator
from tests.conftest import Browser, sign_in_of
from tests.second_factors import App, add_app, add_passkey

pytestmark = pytest.mark.django_db

LOGIN, SECOND_STEP, ENROL = "/accounts/login/", "/accounts/second-step/", "/accounts/second-step/add/"
NEW_PASSWORD = "a quite different passphrase"


@pytest.fixture
def app(hers):
    return add_app(hers)[0]


@pytest.fixture
def passkey(hers):
    return add_passkey(hers)


def enter_password(user, password, browser=None, **fields):
    """Returns the browser, and the response to the right password."""
    browser = browser or Browser()
    return browser, browser.post(LOGIN, {"username": user.username, "password": password, **fields})


@pytest.fixture
def half(ann, password, app):
    """A browser in which Ann has entered her password."""
    browser, response = enter_password(ann, password)
    assert urlsplit(response.headers["Location"]).path == SECOND_STEP
    return browser


def is_signed_in(browser):
    return browser.get("/accounts/profile/").status_code == 200


def leads_to(response, path):
    assert response.status_code == 302, response.content.decode()
    assert urlsplit(response.headers["Location"]).path == path
    return True


def options_of(browser, path):
    response = browser.get(path)
    assert response.status_code == 200, response.content
    return response.json()


def sign_in_with(passkey, browser, credential=None, **fields):
    options = options_of(browser, f"{LOGIN}passkey/")
    credential = credential or passkey.get(options["publicKey"])
    return browser.post(LOGIN, {"step": options["step"], "credential": json.dumps(credential), **fields})


# After the password


def test_the_password_alone_signs_nobody_in(half):
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


def test_a_wrong_code_is_explained_and_signs_nobody_in(half, app):
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


def second_step_options(browser):
    return options_of(browser, f"{SECOND_STEP}passkey/")


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


def test_a_used_step_signs_nobody_in(half, app, browser, clock):
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


PRIVATE = [
    "/accounts/profile/",
    "/accounts/security/",
    "/accounts/security/passkeys/new/",
    "/accounts/security/app/",
    "/accounts/security/recovery-codes/",
    "/accounts/sign-ins/",
    "/accounts/clients/new/",
    "/accounts/password_change/",
    "/accounts/email/",
    "/accounts/delete/",
    "/accounts/confirm/",
    "/admin/",
]


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
    other.post(f"/accounts/reset/{uid}/{token}/", {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD})
    assert not is_signed_in(other)
    other, response = enter_password(ann, NEW_PASSWORD, other)
    assert leads_to(response, SECOND_STEP)
    assert not is_signed_in(other)


def test_an_email_confirmation_signs_nobody_in(
    settings, half, ann, app, mailoutbox, django_capture_on_commit_callbacks
):
    settings.SITE_URL = "https://testserver"
    User.objects.filter(pk=ann.pk).update(email_confirmed_at=None)
    with django_capture_on_commit_callbacks(execute=True):
        email_addresses.send_confirmation(User.objects.get(pk=ann.pk))
    mail.wait()
    link = next(line for line in mailoutbox[-1].body.splitlines() if line.startswith("https://"))
    assert half.post(urlsplit(link).path).status_code == 200
    assert not is_signed_in(half)


def test_the_page_needs_no_session_of_another_browser(half, app, browser):
    assert leads_to(browser().post(SECOND_STEP, {"code": app.code()}), LOGIN)


def test_five_wrong_codes_send_a_mail(half, app, ann, mails_of):
    def guess():
        for _attempt in range(5):
            half.post(SECOND_STEP, {"code": app.wrong_code()})

    assert "Someone knows your password" in [mail.subject for mail in mails_of(guess)][-1]


# Passkeys alone


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


# Users who must have a second factor


@pytest.fixture
def enrolling(hers, settings, ann, password):
    settings.SECOND_FACTOR = "all"
    browser, response = enter_password(ann, password, next="/accounts/activity/")
    assert urlsplit(response.headers["Location"]).path == ENROL
    return browser


def test_who_must_have_a_second_factor_is_not_signed_in_without(enrolling):
    assert not is_signed_in(enrolling)
    assert enrolling.get(ENROL).status_code == 200


@pytest.mark.parametrize("path", [*PRIVATE, SECOND_STEP])
def test_who_must_have_one_reaches_only_the_page_to_add_it(enrolling, path):
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
    form = {"username": "zoe", "email": "zoe@example.org", "password1": password, "password2": password}
    assert leads_to(here.post("/accounts/signup/", form), ENROL)
    assert not is_signed_in(here)


# Confirm


@pytest.fixture
def stale(clock, half, app):
    half.post(SECOND_STEP, {"code": app.code()})
    clock.shift(timedelta(minutes=16))
    return half


def test_a_password_does_not_confirm_an_account_with_a_second_factor(stale, password):
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


def test_an_old_sign_in_of_level_1_confirms_with_the_second_factor(browser_of, ann, hers):
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
    response = before.post("/compare/client/") if project_settings.DEMO else None
    assert response is None or response.status_code in (403, 404)
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
