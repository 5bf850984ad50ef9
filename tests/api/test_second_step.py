"""The second step over the API: after the right password, nothing is started until a second factor is proved."""

from datetime import timedelta

import pytest

from accounts.models import SecurityEvent, SignIn, User
from tests.api.dpop_client import Holder
from tests.authenticator import USER_PRESENT, USER_VERIFIED, Authenticator
from tests.conftest import ApiClient, Browser, bearer, claims_of, sign_in_of
from tests.second_factors import SECOND_STEP, add_app, add_passkey, password_step

pytestmark = pytest.mark.django_db


@pytest.fixture
def app(hers):
    return add_app(hers)[0]


@pytest.fixture
def recovery_codes(hers):
    return add_app(hers)[1]


@pytest.fixture
def passkey(hers):
    return add_passkey(hers)


@pytest.fixture
def step(ann, password, app):
    return password_step(ann, password)


def finish(step, **proof):
    return ApiClient().post(SECOND_STEP, {"step": step["step"], **proof})


def refused(response, status, code):
    assert (response.status_code, response.json()["code"]) == (status, code), response.content
    return True


# The answer to the password


def test_the_password_alone_starts_nothing(step):
    assert step.keys() == {"detail", "code", "step", "methods"}
    assert step["code"] == "second_step_required"
    assert step["methods"] == ["totp", "recovery_code"]
    assert SignIn.objects.count() == 1


def test_a_wrong_password_says_nothing_of_a_second_factor(anonymous, ann, app):
    response = anonymous.post("/api/token/", {"username": ann.username, "password": "wrong"})
    assert refused(response, 401, "no_active_account")


def test_the_answer_has_the_options_of_a_passkey(ann, password, passkey):
    step = password_step(ann, password)
    assert step["methods"] == ["passkey", "recovery_code"]
    assert step["passkey"]["rpId"] == "testserver"
    assert [each["type"] for each in step["passkey"]["allowCredentials"]] == ["public-key"]


def test_with_the_setting_off_no_second_step_is_needed(settings, client_of, ann, app):
    settings.SECOND_FACTOR = "off"
    client_of(ann)


def test_a_service_needs_no_second_step(client_of, ann, app):
    User.objects.filter(pk=ann.pk).update(is_service=True)
    client_of(ann)


def test_a_sign_in_without_a_second_factor_takes_no_more_statements(
    settings, anonymous, ann, password, django_assert_num_queries
):
    body = {"username": ann.username, "password": password}
    with django_assert_num_queries(12) as counted:
        anonymous.post("/api/token/", body)
    settings.SECOND_FACTOR = "off"
    with django_assert_num_queries(len(counted)):
        anonymous.post("/api/token/", body)


# The second step


def test_a_code_finishes_the_sign_in(step, app, ann):
    response = finish(step, code=app.code())
    assert response.status_code == 200, response.content
    assert sign_in_of(ann).methods == "password totp"
    assert ApiClient(response.json()["access"]).get("/api/me/").status_code == 200


def test_a_recovery_code_finishes_the_sign_in(ann, password, recovery_codes):
    assert finish(password_step(ann, password), recovery_code=recovery_codes[3]).status_code == 200
    assert sign_in_of(ann).methods == "password recovery_code"


def test_a_recovery_code_is_accepted_as_typed(ann, password, recovery_codes):
    typed = recovery_codes[0].lower().replace("-", " ")
    assert finish(password_step(ann, password), recovery_code=typed).status_code == 200


def test_a_passkey_finishes_the_sign_in(ann, password, passkey):
    step = password_step(ann, password)
    response = finish(step, credential=passkey.get(step["passkey"]))
    assert response.status_code == 200, response.content
    assert sign_in_of(ann).methods == "password passkey"


def test_a_script_sends_the_code_along(anonymous, ann, password, app):
    body = {"username": ann.username, "password": password, "code": app.code()}
    assert anonymous.post("/api/token/", body).status_code == 200


def test_a_wrong_code_sent_along_starts_nothing(anonymous, ann, password, app):
    body = {"username": ann.username, "password": password, "code": app.wrong_code()}
    assert refused(anonymous.post("/api/token/", body), 401, "second_step_failed")
    assert SignIn.objects.count() == 1


def test_a_code_without_a_second_factor_is_ignored(anonymous, ann, password):
    body = {"username": ann.username, "password": password, "code": "123456"}
    assert anonymous.post("/api/token/", body).status_code == 200


def test_the_tokens_say_how_the_user_signed_in(step, app, ann):
    claims = claims_of(finish(step, code=app.code()).json()["access"])
    assert (claims["amr"], claims["acr"]) == (["pwd", "otp", "mfa"], "aal2")
    assert claims["auth_time"] == int(sign_in_of(ann).authenticated_at.timestamp())


def test_introspection_of_level_2_has_no_new_members(step, app, staff, client_of):
    access = finish(step, code=app.code()).json()["access"]
    form = f"token={access}"
    headers = bearer(client_of(staff).access)
    kind = "application/x-www-form-urlencoded"
    answer = Browser().generic("POST", "/api/token/introspect/", form, kind, headers=headers).json()
    assert answer["sid"] == claims_of(access)["sid"]
    assert answer.keys().isdisjoint({"acr", "amr", "auth_time"})


def test_the_tokens_keep_their_level_when_they_are_refreshed(step, app):
    pair = finish(step, code=app.code()).json()
    client = ApiClient(pair["access"], pair["refresh"])
    client.renew()
    assert claims_of(client.access)["acr"] == "aal2"


def test_the_audience_of_the_first_step_is_that_of_the_tokens(settings, ann, password, app):
    settings.JWT_AUDIENCES = ["api", "reports"]
    step = password_step(ann, password, audience="reports")
    assert claims_of(finish(step, code=app.code()).json()["access"])["aud"] == "reports"


# Refusals


def test_a_wrong_code_is_refused(step, app):
    response = finish(step, code=app.wrong_code())
    assert refused(response, 401, "second_step_failed")
    assert "WWW-Authenticate" in response.headers


def test_a_code_works_once(ann, password, app):
    first, second = password_step(ann, password), password_step(ann, password)
    code = app.code()
    assert finish(first, code=code).status_code == 200
    assert refused(finish(second, code=code), 401, "second_step_failed")


def test_an_earlier_code_is_refused_after_a_later_one(ann, password, app):
    first, second = password_step(ann, password), password_step(ann, password)
    assert finish(first, code=app.code(1)).status_code == 200
    assert refused(finish(second, code=app.code()), 401, "second_step_failed")


def test_a_recovery_code_works_once(ann, password, recovery_codes):
    assert finish(password_step(ann, password), recovery_code=recovery_codes[0]).status_code == 200
    response = finish(password_step(ann, password), recovery_code=recovery_codes[0])
    assert refused(response, 401, "second_step_failed")


def test_a_step_works_once(step, app, clock):
    assert finish(step, code=app.code()).status_code == 200
    clock.shift(timedelta(seconds=60))
    assert refused(finish(step, code=app.code()), 400, "step_not_valid")


def test_a_step_expires_after_five_minutes(clock, ann, password, app):
    step = password_step(ann, password)
    clock.shift(timedelta(minutes=5, seconds=1))
    assert refused(finish(step, code=app.code()), 400, "step_not_valid")


@pytest.mark.parametrize("text", ["", "x", "a:b:c", "ü" * 2048, "x" * 2048])
def test_an_unknown_step_is_refused(app, text):
    response = ApiClient().post(SECOND_STEP, {"step": text, "code": app.code()})
    assert response.status_code == 400


def test_a_step_of_another_purpose_is_refused(anonymous, app):
    options = anonymous.post("/api/token/passkey/options/", {}).json()
    assert refused(finish(options, code=app.code()), 400, "step_not_valid")


def test_the_code_of_another_user_is_refused(step, bob, client_of):
    other, _codes = add_app(client_of(bob))
    assert refused(finish(step, code=other.code()), 401, "second_step_failed")


def test_the_recovery_code_of_another_user_is_refused(step, bob, client_of):
    _app, codes = add_app(client_of(bob))
    assert refused(finish(step, recovery_code=codes[0]), 401, "second_step_failed")


def test_the_passkey_of_another_user_is_refused(ann, password, passkey, bob, client_of):
    other = add_passkey(client_of(bob))
    step = password_step(ann, password)
    assert refused(finish(step, credential=other.get(step["passkey"])), 401, "second_step_failed")


def test_an_unknown_passkey_is_refused_as_a_wrong_one(ann, password, passkey):
    step = password_step(ann, password)
    assert refused(finish(step, credential=Authenticator().get(step["passkey"])), 401, "second_step_failed")


def test_a_user_deactivated_between_the_steps_is_refused(step, app, ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert refused(finish(step, code=app.code()), 400, "step_not_valid")


def test_a_password_changed_between_the_steps_refuses_the_step(step, app, ann):
    ann = User.objects.get(pk=ann.pk)
    ann.set_password("quiet copper lantern drifts")
    ann.save()
    assert refused(finish(step, code=app.code()), 400, "step_not_valid")


def test_the_end_of_all_sign_ins_between_the_steps_refuses_the_step(step, app, hers):
    assert hers.post("/api/sign-ins/end-all/").status_code == 200
    assert refused(finish(step, code=app.code()), 400, "step_not_valid")


def test_a_password_verified_before_a_factor_was_added_is_not_enough(ann, password, hers):
    from django.contrib.auth import authenticate

    from accounts import starting
    from accounts.models import SignInRefused

    verified = authenticate(username=ann.username, password=password)
    add_app(hers)
    with pytest.raises(SignInRefused):
        starting.start(verified, SignIn.Kind.CLIENT)


def test_a_step_bound_to_a_key_needs_a_proof_of_that_key(ann, password, app):
    holder, other = Holder(), Holder()
    step = holder.call("POST", "/api/token/", {"username": "ann", "password": password}, access="").json()
    body = {"step": step["step"], "code": app.code()}
    assert refused(ApiClient().post(SECOND_STEP, body), 400, "step_not_valid")
    assert refused(other.call("POST", SECOND_STEP, body, access=""), 400, "step_not_valid")
    response = holder.call("POST", SECOND_STEP, body, access="")
    assert response.json()["token_type"] == "DPoP"


def test_a_step_without_a_key_gives_no_bound_tokens(step, app):
    response = Holder().call("POST", SECOND_STEP, {"step": step["step"], "code": app.code()}, access="")
    assert refused(response, 400, "step_not_valid")


@pytest.mark.parametrize("proof", [{}, {"code": "123456", "recovery_code": "0-AAAA"}])
def test_one_proof_is_needed(step, proof):
    assert refused(finish(step, **proof), 400, "invalid")


# Who must have a second factor


@pytest.mark.parametrize(("setting", "is_staff"), [("all", False), ("staff", True)])
def test_who_must_have_a_factor_and_has_none_gets_no_tokens(settings, anonymous, ann, password, setting, is_staff):
    User.objects.filter(pk=ann.pk).update(is_staff=is_staff)
    settings.SECOND_FACTOR = setting
    response = anonymous.post("/api/token/", {"username": ann.username, "password": password})
    assert refused(response, 403, "second_factor_missing")
    assert not SignIn.objects.exists()


def test_others_need_none_where_staff_must(settings, client_of, ann):
    settings.SECOND_FACTOR = "staff"
    client_of(ann)


def test_a_sign_in_below_the_required_level_is_not_refreshed(settings, hers):
    settings.SECOND_FACTOR = "all"
    assert hers.renew().status_code == 401


def test_a_session_below_the_required_level_is_signed_out(settings, browser_of, ann):
    browser = browser_of(ann)
    settings.SECOND_FACTOR = "all"
    assert browser.get("/accounts/profile/").status_code == 302


def test_a_sign_in_with_a_second_factor_goes_on_where_it_is_required(settings, step, app):
    pair = finish(step, code=app.code()).json()
    settings.SECOND_FACTOR = "all"
    assert ApiClient(pair["access"], pair["refresh"]).renew().status_code == 200


# Other doors


def test_login_of_another_app_is_refused_without_the_second_step(rf, ann, app):
    from django.contrib.auth import login

    from accounts.models import SecondStepRequired
    from accounts.sessions import SessionStore

    request = rf.get("/")
    request.session = SessionStore()
    with pytest.raises(SecondStepRequired):
        login(request, User.objects.get(pk=ann.pk))
    assert not request.user.is_authenticated
    assert SignIn.objects.count() == 1


@pytest.mark.parametrize("path", ["/accounts/login/", "/admin/login/"])
def test_the_password_alone_signs_in_at_no_page(browser, ann, password, app, path):
    User.objects.filter(pk=ann.pk).update(is_staff=True, is_superuser=True)
    page = browser()
    page.post(path, {"username": ann.username, "password": password})
    assert page.get("/accounts/profile/").status_code == 302
    assert SignIn.objects.count() == 1


def test_a_password_reset_does_not_go_round_the_second_step(ann, app, reset_by_mail):
    reset_by_mail(ann, "quiet copper lantern drifts")
    password_step(ann, "quiet copper lantern drifts")


@pytest.fixture
def reset_by_mail():
    from accounts import passwords

    return lambda user, new: passwords.reset(User.objects.get(pk=user.pk), new)


# Passkeys alone


def sign_in_by_passkey(authenticator, options=None, **changes):
    options = options or ApiClient().post("/api/token/passkey/options/", {}).json()
    credential = authenticator.get(options["publicKey"], **changes)
    return ApiClient().post("/api/token/passkey/", {"step": options["step"], "credential": credential})


def test_a_passkey_signs_in_without_a_name(passkey, ann):
    response = sign_in_by_passkey(passkey)
    assert response.status_code == 200, response.content
    assert sign_in_of(ann).methods == "passkey"
    claims = claims_of(response.json()["access"])
    assert (claims["amr"], claims["acr"]) == (["pop", "mfa"], "aal2")


def test_an_unknown_passkey_is_named_as_such(passkey):
    assert refused(sign_in_by_passkey(Authenticator(user_handle=b"x")), 404, "unknown_passkey")


def test_the_answer_of_a_passkey_works_once(passkey):
    options = ApiClient().post("/api/token/passkey/options/", {}).json()
    assert sign_in_by_passkey(passkey, options).status_code == 200
    assert refused(sign_in_by_passkey(passkey, options), 400, "step_not_valid")


def test_a_passkey_of_a_deactivated_user_is_refused(passkey, ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert refused(sign_in_by_passkey(passkey), 401, "no_active_account")


BAD_ANSWERS = {
    "another origin": {"origin": "https://evil.example"},
    "a sub-domain": {"origin": "https://evil.testserver"},
    "another port": {"origin": "https://testserver:8443"},
    "another RP": {"rp_id": "evil.example"},
    "a frame of another origin": {"crossOrigin": True},
    "a top origin": {"topOrigin": "https://evil.example"},
    "another challenge": {"challenge": "AAAA"},
    "a creation": {"type": "webauthn.create"},
    "no user verification": {"flags": USER_PRESENT},
    "no user presence": {"flags": USER_VERIFIED},
    "no user handle": {"user_handle": None},
    "another user handle": {"user_handle": b"someone else"},
}


@pytest.mark.parametrize("changes", BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
def test_a_bad_answer_of_a_passkey_is_refused(passkey, changes):
    assert refused(sign_in_by_passkey(passkey, **changes), 401, "second_step_failed")


def test_a_signature_of_another_key_is_refused(passkey):
    other = Authenticator(credential_id=passkey.credential_id, user_handle=passkey.user_handle)
    assert refused(sign_in_by_passkey(other), 401, "second_step_failed")


def test_after_the_password_a_passkey_need_not_verify_the_user(ann, password, passkey):
    step = password_step(ann, password)
    assert finish(step, credential=passkey.get(step["passkey"], flags=USER_PRESENT)).status_code == 200


def test_a_synced_passkey_may_keep_its_counter(passkey):
    assert [sign_in_by_passkey(passkey).status_code for _time in range(2)] == [200, 200]
    assert not SecurityEvent.objects.filter(type="passkey_counter").exists()


def test_a_counter_that_does_not_increase_is_reported(hers, mails_of):
    passkey = add_passkey(hers, Authenticator(synced=False))
    assert sign_in_by_passkey(passkey).status_code == 200
    sent = mails_of(lambda: sign_in_by_passkey(passkey, count=0))
    assert SignIn.objects.count() == 3
    assert SecurityEvent.objects.filter(type="passkey_counter").count() == 1
    assert any("passkeys" in mail.subject for mail in sent)
