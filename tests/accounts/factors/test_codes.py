"""Codes of second factors: the algorithm, the encryption of secrets, the limits of wrong codes."""

import base64
from datetime import timedelta

import pytest
import time_machine
from django.db import OperationalError, connection
from django.utils import timezone

from accounts.factors import recovery_codes, totp
from accounts.models import AttemptCounter, AuthenticatorApp, Passkey, RecoveryCodeSet, SecurityEvent, SignIn, User
from tests.conftest import ApiClient
from tests.second_factors import SECOND_STEP, add_app, add_passkey, password_step

pytestmark = pytest.mark.django_db

# RFC 6238, appendix B: the last six digits of the codes for SHA-1, by Unix time.
RFC_6238 = {59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037"}


@pytest.fixture
def app(hers):
    return add_app(hers)[0]


def try_code(user, password, **proof):
    step = password_step(user, password)
    return ApiClient().post(SECOND_STEP, {"step": step["step"], **proof})


# RFC 6238


@pytest.mark.parametrize(("seconds", "code"), RFC_6238.items())
def test_codes_are_those_of_rfc_6238(ann, seconds, code):
    app = AuthenticatorApp(user=ann)
    app.secret = totp._encrypt(app, b"12345678901234567890")
    with time_machine.travel(seconds, tick=False):
        assert totp.matching_step(app, code) == seconds // 30


@pytest.mark.parametrize(("steps", "is_accepted"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_one_step_of_clock_skew_is_accepted(ann, password, app, clock, steps, is_accepted):
    # Past the step that confirmed the app.
    clock.shift(timedelta(minutes=2))
    assert (try_code(ann, password, code=app.code(steps)).status_code == 200) == is_accepted


@pytest.mark.parametrize("code", ["", "12345", "1234567", "１２３４５６", "abcdef", "-12345", " 12345"])
def test_a_text_that_is_no_code_is_refused(ann, app, code):
    assert totp.use(ann, code) is None


# Secrets


def test_a_secret_in_another_row_is_useless(ann, bob, hers, app):
    other = AuthenticatorApp(user=bob, secret=AuthenticatorApp.objects.get().secret)
    assert totp._decrypt(other) is None


def test_after_a_change_of_the_key_the_fallback_decrypts(settings, ann, app):
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key " * 5
    assert totp.use(ann, app.code()) is not None


def test_a_use_encrypts_with_the_new_key(settings, ann, app, clock):
    old = settings.SECRET_KEY
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [old], "another key " * 5
    assert totp.use(ann, app.code()) is not None
    settings.SECRET_KEY_FALLBACKS = []
    clock.shift(timedelta(minutes=1))
    assert totp.use(ann, app.code()) is not None


def test_without_the_key_no_code_is_accepted_and_the_log_says_why(settings, ann, app, caplog):
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another key " * 5, []
    assert totp.use(ann, app.code()) is None
    assert "SECRET_KEY" in caplog.text


# Recovery codes


def test_a_try_of_a_recovery_code_costs_one_hash(ann, hers, monkeypatch):
    add_app(hers)
    tried = []
    monkeypatch.setattr(recovery_codes.hashing, "is_right", lambda *a: tried.append(a) or False)
    monkeypatch.setattr(recovery_codes.hashing, "simulate_check", lambda *a: tried.append(a))
    for text in ("3-AAAA-BBBB-CCCC-DDDD", "no code", "9" * 30, ""):
        recovery_codes.use(ann, text)
    assert len(tried) == 4


@pytest.mark.parametrize("table", ["accounts_securityevent", "django_tasks_database_dbtaskresult"])
def test_a_code_without_its_event_or_mail_stays_unused(ann, hers, table):
    _app, codes = add_app(hers)
    ann = User.objects.get(pk=ann.pk)

    def refuse(execute, sql, params, many, context):
        if sql.startswith("INSERT") and table in sql:
            raise OperationalError("The connection was lost.")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse), pytest.raises(OperationalError):
        recovery_codes.use(ann, codes[0])
    assert recovery_codes.left(ann) == 10


def test_a_used_code_is_recorded_and_mailed(ann, password, hers, mails_of):
    _app, codes = add_app(hers)
    sent = mails_of(lambda: try_code(ann, password, recovery_code=codes[0]))
    assert any(mail.subject == "A recovery code was used" and "9 codes are left" in mail.body for mail in sent)
    assert SecurityEvent.objects.filter(type="recovery_code_used").count() == 1


# Limits


def test_after_five_wrong_codes_the_next_one_waits(ann, password, app):
    answers = [try_code(ann, password, code=app.wrong_code()) for _try in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert try_code(ann, password, code=app.code()).status_code == 429


def test_the_right_code_works_after_the_wait(ann, password, app, clock):
    for _try in range(5):
        try_code(ann, password, code=app.wrong_code())
    clock.shift(timedelta(minutes=1))
    assert try_code(ann, password, code=app.code()).status_code == 200
    assert AuthenticatorApp.objects.get().failures == 0


def test_thirty_wrong_codes_wait_for_twelve_hours(ann, password, app, clock):
    for _try in range(30):
        assert try_code(ann, password, code=app.wrong_code()).status_code == 401
        AttemptCounter.objects.filter(kind="code", count__lt=30).update(until=timezone.now())
    response = try_code(ann, password, code=app.code())
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) == 12 * 3600


def test_a_locked_app_does_not_lock_the_other_factors(ann, password, hers):
    app, codes = add_app(hers)
    passkey = add_passkey(hers)
    for _try in range(6):
        try_code(ann, password, code=app.wrong_code())
    step = password_step(ann, password)
    assert try_code(ann, password, recovery_code=codes[0]).status_code == 200
    answer = ApiClient().post(SECOND_STEP, {"step": step["step"], "credential": passkey.get(step["passkey"])})
    assert answer.status_code == 200


def test_a_password_reset_does_not_reset_the_limit_of_codes(ann, password, app):
    from accounts import passwords

    for _try in range(5):
        try_code(ann, password, code=app.wrong_code())
    new = "quiet copper lantern drifts"
    passwords.reset(User.objects.get(pk=ann.pk), new)
    assert try_code(ann, new, code=app.code()).status_code == 429


def test_the_fifth_wrong_code_mails_that_the_password_is_known(ann, password, app, mails_of):
    def guess(times):
        return lambda: [try_code(ann, password, code=app.wrong_code()) for _try in range(times)]

    assert mails_of(guess(4)) == []
    assert [mail.subject for mail in mails_of(guess(1))] == ["Someone knows your password"]


def test_each_wrong_code_is_an_event_without_the_code(ann, password, app):
    wrong = app.wrong_code()
    try_code(ann, password, code=wrong)
    event = SecurityEvent.objects.get(type="second_step_failed")
    assert event.details == {"method": "totp"}


@pytest.mark.parametrize("model", [AuthenticatorApp, RecoveryCodeSet])
def test_a_hundred_wrong_codes_in_a_row_disable_the_factor(ann, password, hers, mails_of, model):
    app, codes = add_app(hers)
    model.objects.update(failures=99)
    wrong = {"code": app.wrong_code()} if model is AuthenticatorApp else {"recovery_code": "0-AAAA-AAAA-AAAA-AAAA"}
    right = {"code": app.code()} if model is AuthenticatorApp else {"recovery_code": codes[1]}
    assert [mail.subject for mail in mails_of(lambda: try_code(ann, password, **wrong))] == [
        "A second factor of your account was disabled"
    ]
    assert model.objects.get().disabled_at is not None
    assert try_code(ann, password, **right).status_code == 401
    assert SecurityEvent.objects.filter(type="factor_disabled").count() == 1


def test_a_disabled_factor_still_asks_for_the_second_step(ann, password, app):
    AuthenticatorApp.objects.update(disabled_at=SignIn.objects.get().created_at)
    assert password_step(ann, password)["methods"] == ["recovery_code"]


def test_a_disabled_factor_is_shown_as_such(hers, app):
    AuthenticatorApp.objects.update(disabled_at=SignIn.objects.get().created_at)
    flags = {each["kind"]: each["is_disabled"] for each in hers.get("/api/factors/").json()["results"]}
    assert flags == {"totp": True, "recovery_codes": False}


# No secret elsewhere


def test_no_secret_is_in_an_event_or_the_log(ann, password, hers, caplog):
    caplog.set_level("DEBUG")
    app, codes = add_app(hers)
    add_passkey(hers)
    wrong, right = app.wrong_code(), app.code()
    try_code(ann, password, code=wrong)
    try_code(ann, password, code=right)
    try_code(ann, password, recovery_code=codes[0])
    text = caplog.text + repr(list(SecurityEvent.objects.values_list("type", "details")))
    secret = base64.b32encode(totp._decrypt(AuthenticatorApp.objects.get())).decode()
    handle = base64.urlsafe_b64encode(bytes(Passkey.objects.get().user_handle)).decode().rstrip("=")
    assert not [each for each in (secret, right, handle, *codes) if each in text]
