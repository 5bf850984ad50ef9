"""Sensitive endpoints need a password entered within fifteen minutes, in both modes."""

import time

import pytest
from django.conf import settings

from accounts.models import SecurityEvent, SignIn
from tests import second_factors
from tests.conftest import ApiClient

PASSWORD_CONFIRM = "/api/password/confirm/"
END_OTHERS = "/api/sign-ins/end-others/"


@pytest.fixture(params=["browser", "client"])
def caller(request, ann, browser_of, client_of):
    """Returns a function that posts JSON as Ann, signed in in the mode."""
    if request.param == "client":
        return client_of(ann).post
    browser = browser_of(ann)
    return lambda path, data=None: browser.post(path, data or {}, "application/json")


def test_no_password_is_required_right_after_a_sign_in(caller):
    assert caller(END_OTHERS).json() == {"ended": 0}


def test_the_password_allows_the_request(ann, password, browser_of, client_of, time_machine):
    browser, client = browser_of(ann), client_of(ann)
    time_machine.move_to(time.time() + 16 * 60)
    client.renew()
    for post in (client.post, lambda path, data=None: browser.post(path, data or {}, "application/json")):
        response = post(END_OTHERS)
        assert response.status_code == 403
        assert response.json()["code"] == "recent_sign_in_required"
        assert ann.sign_ins.live().count() == 2
        assert post(PASSWORD_CONFIRM, {"password": password}).status_code == 204
    assert client.post(END_OTHERS).json() == {"ended": 1}


def test_a_browser_gets_a_new_session_key_with_the_password(ann, password, browser, browser_of):
    anns, replay = browser_of(ann), browser()
    replay.cookies[settings.SESSION_COOKIE_NAME] = anns.cookies[settings.SESSION_COOKIE_NAME].value
    assert anns.post(PASSWORD_CONFIRM, {"password": password}, "application/json").status_code == 204
    assert [each.get("/api/me/").status_code for each in (replay, anns)] == [401, 200]


def test_a_refresh_is_not_a_reauthentication(ann, client_of, time_machine):
    client = client_of(ann)
    time_machine.move_to(time.time() + 16 * 60)
    assert client.renew().status_code == 200
    assert client.post(END_OTHERS).status_code == 403


def test_a_wrong_password_is_not_a_reauthentication(ann, client_of, time_machine):
    client = client_of(ann)
    time_machine.move_to(time.time() + 16 * 60)
    client.renew()
    response = client.post(PASSWORD_CONFIRM, {"password": "wrong"})
    assert response.status_code == 400
    assert response.json()["password"] == ["The password is wrong."]
    assert client.post(END_OTHERS).status_code == 403


def test_wrong_passwords_are_rate_limited(ann, client_of, password):
    client = client_of(ann)
    answers = [client.post(PASSWORD_CONFIRM, {"password": "wrong"}).status_code for _ in range(30)]
    assert answers[0] == 400
    assert answers[-1] == 429
    assert client.post(PASSWORD_CONFIRM, {"password": password}).status_code == 429


def test_a_reauthentication_counts_for_its_sign_in_only(ann, password, client_of, time_machine):
    one, other = client_of(ann), client_of(ann)
    time_machine.move_to(time.time() + 16 * 60)
    one.renew()
    other.renew()
    assert one.post(PASSWORD_CONFIRM, {"password": password}).status_code == 204
    assert other.post(END_OTHERS).status_code == 403


def test_confirming_needs_a_sign_in(anonymous, db):
    assert anonymous.post(PASSWORD_CONFIRM, {"password": "x"}).status_code == 401


@pytest.mark.parametrize("method", ["DELETE", "POST"])
def test_ending_one_or_all_sign_ins_asks_for_a_recent_proof(ann, client_of, time_machine, method):
    client = client_of(ann)
    one = f"/api/sign-ins/{SignIn.objects.get().pk}/"
    time_machine.move_to(time.time() + 16 * 60)
    client.renew()
    response = client.request(method, one if method == "DELETE" else "/api/sign-ins/end-all/")
    assert (response.status_code, response.json()["code"]) == (403, "recent_sign_in_required")
    assert response.json()["methods"] == ["password"]


def test_a_confirmation_is_recorded_with_its_method(caller, ann, password):
    assert caller("/api/reauthenticate/", {"password": password}).status_code == 204
    event = SecurityEvent.objects.get(type="reauthenticated")
    assert (event.user, event.sid, event.details) == (ann, SignIn.objects.get().pk, {"method": "password"})


def test_a_confirmation_by_a_second_factor_is_recorded(ann, client_of, password):
    client = client_of(ann)
    app, _codes = second_factors.add_app(client)
    assert client.post("/api/reauthenticate/", {"code": app.code()}).status_code == 204
    assert SecurityEvent.objects.get(type="reauthenticated").details == {"method": "totp"}
    # A second step is part of its sign-in.
    code = {"username": "ann", "password": password, "code": app.code(1)}
    assert ApiClient().post("/api/token/", code).status_code == 200
    assert SecurityEvent.objects.filter(type="reauthenticated").count() == 1


def test_a_wrong_confirmation_over_the_api_is_recorded(caller, ann):
    assert caller("/api/reauthenticate/", {"password": "not the right passphrase"}).status_code == 400
    assert SecurityEvent.objects.filter(type="sign_in_failed", user=ann).count() == 1
