"""The session of a browser app: sign-in, second step, passkey, sign-out, and what a session says."""

import json

import pytest
from django.conf import settings as django_settings
from django.utils.dateparse import parse_datetime

from accounts.models import AttemptCounter, Passkey, SecurityEvent, Session, SignIn, User
from accounts.sessions import digest
from tests.accounts.second_step_pages import options_of
from tests.conftest import Browser, bearer, sign_in_of
from tests.second_factors import add_app, add_passkey, password_step

pytestmark = pytest.mark.django_db

SESSION = "/api/session/"
COOKIE = django_settings.SESSION_COOKIE_NAME
NOT_JSON = [
    (b"", 400),
    (b"{", 400),
    (b'{"username": "ann", "username": "bob", "password": "x"}', 400),
    (b'{"username": "a\\u0000nn", "password": "x"}', 400),
    (b'{"username": "ann", "password": 1}', 400),
    (b'{"username": "ann", "password": "x", "remember": "yes"}', 400),
    (b"[" * 5000, 400),
    (b'"' + b"x" * 1_600_000 + b'"', 413),
]


def post(browser, path, data=None, **options):
    return browser.generic("POST", path, json.dumps(data or {}), "application/json", **options)


def sign_in(user, password, browser=None, **fields):
    """Returns the browser and the response to the password."""
    browser = browser or Browser()
    return browser, post(browser, SESSION, {"username": user.username, "password": password, **fields})


def key_of(browser):
    return browser.cookies[COOKIE].value


def is_signed_in(browser):
    return browser.get(SESSION).status_code == 200


def refused(response, status, code):
    assert (response.status_code, response.json()["code"]) == (status, code), response.content
    return True


@pytest.fixture
def app(hers):
    return add_app(hers)[0]


@pytest.fixture
def passkey(hers):
    return add_passkey(hers)


@pytest.fixture
def step(ann, password, app):
    return sign_in(ann, password)[1].json()


# The password


def test_the_right_password_starts_a_session(ann, password):
    browser, response = sign_in(ann, password)
    assert response.status_code == 200, response.content
    assert browser.get("/api/me/").json()["username"] == "ann"
    assert browser.get("/accounts/profile/").status_code == 200


def test_the_answer_describes_the_session(ann, password, anonymous):
    browser, response = sign_in(ann, password)
    started = sign_in_of(ann)
    body = response.json()
    assert body == browser.get(SESSION).json()
    assert body.keys() == {"user", "sign_in", "authenticated_at", "methods"}
    assert body["user"] == browser.get("/api/me/").json()
    assert body["sign_in"].keys() == {"id", "created_at", "expires_at"}
    assert body["sign_in"]["id"] == str(started.pk)
    assert parse_datetime(body["sign_in"]["expires_at"]) == started.expires_at
    assert parse_datetime(body["authenticated_at"]) == started.authenticated_at
    assert body["methods"] == ["password"]


def test_a_session_is_not_cached(ann, password):
    browser, response = sign_in(ann, password)
    assert response.headers["Cache-Control"] == browser.get(SESSION).headers["Cache-Control"] == "no-store"


def test_the_cookie_is_that_of_the_pages(ann, password, browser_of):
    browser, _response = sign_in(ann, password, remember=True)
    page = Browser()
    page.post("/accounts/login/", {"username": ann.username, "password": password, "keep": "on"})
    names = ("secure", "httponly", "samesite", "path", "domain", "max-age")
    ours, theirs = (each.cookies[COOKIE] for each in (browser, page))
    assert [ours[name] for name in names] == [theirs[name] for name in names]


def test_without_remember_the_session_ends_with_the_browser(ann, password):
    browser, _response = sign_in(ann, password)
    assert browser.cookies[COOKIE]["max-age"] == ""
    assert sign_in_of(ann).idle_timeout == SignIn.idle_timeout_of("browser")


def test_with_remember_the_session_outlasts_the_browser(ann, password):
    browser, _response = sign_in(ann, password, remember=True)
    assert browser.cookies[COOKIE]["max-age"] > 0
    assert sign_in_of(ann).idle_timeout == SignIn.idle_timeout_of("browser", is_remembered=True)


def test_a_wrong_password_starts_nothing(ann):
    browser, response = sign_in(ann, "not the right passphrase at all")
    assert refused(response, 401, "no_active_account")
    assert response.headers["WWW-Authenticate"] == 'Session realm="api"'
    assert COOKIE not in browser.cookies
    assert SecurityEvent.objects.filter(type="sign_in_failed", user=ann).count() == 1


def test_wrong_passwords_count_with_those_of_the_page(ann, password):
    for _guess in range(9):
        Browser().post("/accounts/login/", {"username": "ann", "password": "wrong"})
    response = sign_in(ann, password)[1]
    assert refused(response, 429, "throttled")
    assert int(response.headers["Retry-After"]) > 0
    assert AttemptCounter.objects.exists()


def test_a_service_account_is_refused(ann, password):
    User.objects.filter(pk=ann.pk).update(is_service=True)
    assert refused(sign_in(ann, password)[1], 401, "no_active_account")


def test_a_deactivated_account_is_refused(ann, password):
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert refused(sign_in(ann, password)[1], 401, "no_active_account")


def test_an_account_without_a_required_factor_is_refused(ann, password, settings):
    settings.SECOND_FACTOR = "all"
    browser, response = sign_in(ann, password)
    assert refused(response, 403, "second_factor_missing")
    assert not is_signed_in(browser)


def test_the_browser_is_known_afterwards(ann, password):
    browser, _response = sign_in(ann, password)
    browser.delete(SESSION)
    for _guess in range(12):
        sign_in(ann, "wrong", Browser())
    assert refused(sign_in(ann, password)[1], 429, "throttled")
    assert sign_in(ann, password, browser)[1].status_code == 200


@pytest.mark.parametrize(("body", "status"), NOT_JSON, ids=range(len(NOT_JSON)))
def test_a_malformed_body_is_refused(ann, body, status):
    response = Browser().generic("POST", SESSION, body, "application/json")
    assert response.status_code == status
    assert response.json()["code"] in ("invalid", "parse_error", "too_large")


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"])
@pytest.mark.parametrize("headers", [{}, {"origin": "https://testserver"}, {"sec-fetch-site": "same-origin"}])
def test_a_form_is_refused(ann, password, kind, headers):
    body = f"username=ann&password={password}"
    response = Browser().generic("POST", SESSION, body, kind, headers=headers)
    assert refused(response, 415, "unsupported_media_type")
    assert not SignIn.objects.exists()


# Statements


def test_a_sign_in_takes_as_many_statements_as_on_the_page(ann, password, django_assert_num_queries):
    credentials = {"username": "ann", "password": password}
    with django_assert_num_queries(19):
        Browser().post("/accounts/login/", credentials)
    with django_assert_num_queries(19):
        post(Browser(), SESSION, credentials)


def test_reading_the_session_takes_one_statement(ann, password, django_assert_num_queries):
    browser, _response = sign_in(ann, password)
    with django_assert_num_queries(1):
        browser.get(SESSION)


# Session fixation and replacement


def test_a_planted_key_gets_no_session(ann, password):
    attacker = Browser()
    attacker.cookies[COOKIE] = planted = "a" * 32
    browser = Browser()
    browser.cookies[COOKIE] = planted
    sign_in(ann, password, browser)
    assert key_of(browser) != planted
    assert not is_signed_in(attacker)
    assert not Session.objects.filter(pk=digest(planted)).exists()


def test_an_anonymous_session_gets_a_new_key(ann, password, app):
    browser = Browser()
    browser.post("/accounts/login/", {"username": "ann", "password": password})
    step_key = key_of(browser)
    response = sign_in(ann, password, browser)[1].json()
    post(browser, "/api/session/second-step/", {"step": response["step"], "code": app.code()})
    assert is_signed_in(browser)
    assert key_of(browser) != step_key
    assert not Session.objects.filter(pk=digest(step_key)).exists()


@pytest.mark.parametrize("same", [True, False])
def test_a_sign_in_replaces_the_current_one(ann, bob, password, same):
    browser, _response = sign_in(ann, password)
    old, thief = sign_in_of(ann), Browser()
    thief.cookies[COOKIE] = key_of(browser)
    response = sign_in(ann if same else bob, password, browser)[1]
    assert response.json()["user"]["username"] == ("ann" if same else "bob")
    old.refresh_from_db()
    assert old.end_reason == "signed_out"
    assert not is_signed_in(thief)
    assert is_signed_in(browser)


def test_a_failed_sign_in_keeps_the_current_one(ann, bob, password):
    browser, _response = sign_in(ann, password)
    assert sign_in(bob, "wrong", browser)[1].status_code == 401
    assert browser.get("/api/me/").json()["username"] == "ann"


def test_the_csrf_token_changes_with_a_sign_in(ann, password):
    browser = Browser()
    browser.get("/accounts/login/")
    before = browser.cookies[django_settings.CSRF_COOKIE_NAME].value
    sign_in(ann, password, browser)
    assert browser.cookies[django_settings.CSRF_COOKIE_NAME].value != before


# The second step


def test_the_password_alone_starts_nothing(ann, password, app):
    browser, response = sign_in(ann, password)
    assert refused(response, 403, "second_step_required")
    assert response.json().keys() == {"detail", "code", "step", "methods"}
    assert "/api/session/second-step/" in response.json()["detail"]
    assert not is_signed_in(browser)
    assert SignIn.objects.filter(kind="browser").count() == 0


def test_a_code_finishes_the_sign_in(ann, app, step):
    browser = Browser()
    response = post(browser, "/api/session/second-step/", {"step": step["step"], "code": app.code()})
    assert response.status_code == 200, response.content
    assert response.json()["methods"] == ["password", "totp"]
    assert response.json() == browser.get(SESSION).json()


def test_a_passkey_finishes_the_sign_in(ann, password, passkey):
    browser, response = sign_in(ann, password)
    body = {"step": response.json()["step"], "credential": passkey.get(response.json()["passkey"])}
    assert post(browser, "/api/session/second-step/", body).json()["methods"] == ["password", "passkey"]


def test_a_wrong_code_starts_nothing(app, step):
    browser = Browser()
    response = post(browser, "/api/session/second-step/", {"step": step["step"], "code": app.wrong_code()})
    assert refused(response, 401, "second_step_failed")
    assert response.headers["WWW-Authenticate"] == 'Session realm="api"'
    assert not is_signed_in(browser)


@pytest.mark.parametrize("remember", [True, False])
def test_the_step_carries_remember(ann, password, app, remember):
    browser, response = sign_in(ann, password, remember=remember)
    post(browser, "/api/session/second-step/", {"step": response.json()["step"], "code": app.code()})
    assert bool(browser.cookies[COOKIE]["max-age"]) is remember


def test_a_step_is_valid_once(app, step):
    body = {"step": step["step"], "code": app.code()}
    assert post(Browser(), "/api/session/second-step/", body).status_code == 200
    assert refused(post(Browser(), "/api/session/second-step/", body), 400, "step_not_valid")


def test_a_step_of_a_client_starts_no_session(ann, password, app):
    step = password_step(ann, password)["step"]
    response = post(Browser(), "/api/session/second-step/", {"step": step, "code": app.code()})
    assert refused(response, 400, "step_not_valid")


def test_a_step_of_a_session_starts_no_client(anonymous, app, step):
    response = anonymous.post("/api/token/second-step/", {"step": step["step"], "code": app.code()})
    assert refused(response, 400, "step_not_valid")


# Passkeys


def passkey_options(browser):
    response = post(browser, "/api/session/passkey/options/")
    assert response.status_code == 200, response.content
    return response.json()


def sign_in_by(passkey, browser, options=None, path="/api/session/passkey/", **fields):
    options = options or passkey_options(browser)
    credential = passkey.get(options["publicKey"])
    return post(browser, path, {"step": options["step"], "credential": credential, **fields})


def test_a_passkey_alone_starts_a_session(ann, passkey):
    browser = Browser()
    response = sign_in_by(passkey, browser)
    assert response.status_code == 200, response.content
    assert (response.json()["user"]["username"], response.json()["methods"]) == ("ann", ["passkey"])
    assert is_signed_in(browser)
    assert browser.cookies[COOKIE]["max-age"] == ""


def test_a_passkey_session_can_be_remembered(ann, passkey):
    browser = Browser()
    sign_in_by(passkey, browser, remember=True)
    assert browser.cookies[COOKIE]["max-age"] > 0


def test_an_unknown_passkey_is_named(passkey):
    Passkey.objects.all().delete()
    assert refused(sign_in_by(passkey, Browser()), 404, "unknown_passkey")


def test_a_passkey_of_a_deactivated_account_is_refused(ann, passkey):
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert refused(sign_in_by(passkey, Browser()), 401, "no_active_account")


@pytest.mark.parametrize("path", ["/api/session/passkey/options/", "/api/session/passkey/"])
def test_without_second_factors_there_are_no_passkeys(path, settings, db):
    settings.SECOND_FACTOR = "off"
    assert refused(post(Browser(), path), 404, "not_found")


def test_options_are_valid_for_their_own_door_only(ann, passkey, anonymous):
    page = options_of(Browser(), "/accounts/login/passkey/")
    client = anonymous.post("/api/token/passkey/options/", {}).json()
    for options in (page, client):
        assert refused(sign_in_by(passkey, Browser(), options), 400, "step_not_valid")
    ours = passkey_options(Browser())
    assert refused(sign_in_by(passkey, Browser(), ours, "/api/token/passkey/"), 400, "step_not_valid")
    form = {"step": ours["step"], "credential": json.dumps(passkey.get(ours["publicKey"]))}
    assert Browser().post("/accounts/login/", form).status_code == 400


# Reading and ending


def test_a_visitor_has_no_session(db):
    response = Browser().get(SESSION)
    assert refused(response, 401, "not_authenticated")
    # Browsers show a dialog for Basic, Digest, NTLM and Negotiate.
    assert response.headers["WWW-Authenticate"] == 'Session realm="api"'


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", ""), ("DELETE", ""), ("POST", "token/")])
def test_an_authorization_header_is_refused(hers, ann, password, method, path):
    browser, _response = sign_in(ann, password)
    body = json.dumps({"username": "ann", "password": password})
    for header in (bearer(hers.access), bearer("x"), {"Authorization": "Basic YTpi"}):
        response = browser.generic(method, f"{SESSION}{path}", body, "application/json", headers=header)
        assert refused(response, 401, "bad_authorization_header")
    assert is_signed_in(browser)


def test_signing_out_ends_the_sign_in(ann, password):
    browser, _response = sign_in(ann, password)
    thief = Browser()
    thief.cookies[COOKIE] = key_of(browser)
    response = browser.delete(SESSION)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["Clear-Site-Data"] == '"cache"'
    assert sign_in_of(ann).end_reason == "signed_out"
    assert key_of(browser) == ""
    assert not is_signed_in(thief)


def test_signing_out_twice_is_no_error(ann, password):
    browser, _response = sign_in(ann, password)
    key = key_of(browser)
    assert browser.delete(SESSION).status_code == 204
    browser.cookies[COOKIE] = key
    assert browser.delete(SESSION).status_code == 204
    assert Browser().delete(SESSION).status_code == 204
    assert SecurityEvent.objects.filter(type="signed_out", user=ann).count() == 1


def test_signing_out_keeps_the_other_sign_ins(ann, password, hers, browser_of):
    page = browser_of(ann)
    browser, _response = sign_in(ann, password)
    browser.delete(SESSION)
    assert is_signed_in(page)
    assert hers.get("/api/me/").status_code == 200


def test_an_ended_session_is_as_none(ann, password):
    browser, _response = sign_in(ann, password)
    SignIn.objects.all().end("ended_by_user")
    assert refused(browser.get(SESSION), 401, "not_authenticated")
