"""One response names every invalid field, so that a client need not send a form once per field."""

import pytest

from tests.conftest import newest_link

pytestmark = pytest.mark.django_db

GOOD = {"username": "zoe", "email": "zoe@example.org", "password": "a quite different passphrase"}
BAD = {
    "username": ["", "two words", "é", 7, None, "x" * 151, "ANN"],
    "email": ["no address", "änn@example.org", [], "x" * 300 + "@example.org", "Ann@example.org"],
    "password": ["short", "passwordpassword1", {}, "x" * 200, ""],
}


def named(response):
    assert response.status_code == 400
    return response.json().keys() - {"detail", "code"}


@pytest.mark.parametrize("number", range(7))
def test_registration_names_every_bad_field(anonymous, ann, number):
    body = {name: values[number % len(values)] for name, values in BAD.items()}
    assert named(anonymous.post("/api/register/", body)) == {"username", "email", "password"}


@pytest.mark.parametrize("missing", GOOD)
def test_a_missing_field_hides_no_other(anonymous, ann, missing):
    body = {name: values[1] for name, values in BAD.items() if name != missing}
    assert named(anonymous.post("/api/register/", body)) == {"username", "email", "password"}


@pytest.mark.parametrize("good", GOOD)
def test_a_valid_field_is_not_named(anonymous, ann, good):
    body = {name: values[1] for name, values in BAD.items()} | {good: GOOD[good]}
    assert named(anonymous.post("/api/register/", body)) == GOOD.keys() - {good}


def test_a_password_made_of_the_names_in_the_body_is_refused(anonymous, ann):
    body = {"username": "ann", "email": "meadowbrook@willowmail.example", "password": "meadowbrook-willowmail"}
    assert named(anonymous.post("/api/register/", body)) == {"username", "password"}


def test_changing_the_password_names_both(client_of, ann):
    body = {"old_password": "not the right passphrase", "new_password": "short"}
    assert named(client_of(ann).post("/api/password/change/", body)) == {"old_password", "new_password"}


@pytest.mark.parametrize("uid", ["", "MQ", 7, "x" * 100, "9" * 60])
def test_setting_a_password_names_the_link_and_the_password(anonymous, ann, uid):
    body = {"uid": uid, "token": "x-y", "new_password": "passwordpassword1"}
    assert {"token", "new_password"} <= named(anonymous.post("/api/password/reset/confirm/", body))


def test_a_bad_password_does_not_spend_a_valid_link(anonymous, ann, mailoutbox, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        anonymous.post("/api/password/reset/", {"email": ann.email})
    uid, token = newest_link(mailoutbox, r"/reset/([^/\s]+)/([^/\s]+)/").groups()
    body = {"uid": uid, "token": token, "new_password": "ann@example.org ann"}
    assert named(anonymous.post("/api/password/reset/confirm/", body)) == {"new_password"}
    good = body | {"new_password": GOOD["password"]}
    assert anonymous.post("/api/password/reset/confirm/", good).status_code == 204


def test_changing_names_names_both(client_of, ann):
    body = {"first_name": "x" * 151, "last_name": 7}
    assert named(client_of(ann).patch("/api/me/", body)) == {"first_name", "last_name"}
