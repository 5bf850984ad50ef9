"""Deletion of an account over the API."""

from datetime import timedelta

import pytest
from django.conf import settings

from accounts.models import AttemptCounter, SecurityEvent, Session, SignIn, User
from tests.second_factors import add_app

pytestmark = pytest.mark.django_db

DELETE = "/api/me/delete/"


def still_exists(user):
    return User.objects.filter(pk=user.pk).exists()


@pytest.fixture
def late(clock, hers):
    """Ann's client, whose user proved nothing for 16 minutes."""
    clock.shift(timedelta(minutes=16))
    hers.renew()
    return hers


def test_the_password_deletes_the_account(hers, ann, password):
    response = hers.post(DELETE, {"password": password})
    assert (response.status_code, response.content) == (204, b"")
    assert not still_exists(ann)


def test_a_deletion_ends_everything_in_both_modes(hers, browser_of, client_of, ann, password):
    browser, client = browser_of(ann), client_of(ann)
    hers.post(DELETE, {"password": password})
    assert [each.get("/api/me/").status_code for each in (hers, client, browser)] == [401, 401, 401]
    assert hers.renew().status_code == 401
    assert (SignIn.objects.count(), Session.objects.count()) == (0, 0)


def test_a_deletion_leaves_other_users(hers, client_of, bob, password):
    his = client_of(bob)
    hers.post(DELETE, {"password": password})
    assert his.get("/api/me/").status_code == 200


def test_events_stay_without_the_name(hers, ann, password):
    hers.post(DELETE, {"password": password})
    assert SecurityEvent.objects.filter(type="signed_in", user=None).exists()


def test_a_wrong_password_is_refused_named_and_counted(late, ann):
    response = late.post(DELETE, {"password": "not the right passphrase"})
    assert (response.status_code, response.json()["password"]) == (400, ["The password is wrong."])
    assert still_exists(ann)
    assert AttemptCounter.objects.filter(kind="inside").exists()
    assert SecurityEvent.objects.filter(user=ann, type="sign_in_failed").exists()


def test_a_wrong_password_is_refused_right_after_a_sign_in(hers, ann):
    assert hers.post(DELETE, {"password": "not the right passphrase"}).status_code == 400
    assert still_exists(ann)


def test_wrong_passwords_are_limited(late, ann, password):
    answers = [late.post(DELETE, {"password": "not the right passphrase"}).status_code for _ in range(6)]
    assert answers == [400] * 5 + [429]
    assert late.post(DELETE, {"password": password}).status_code == 429
    assert still_exists(ann)


def test_without_a_password_a_recent_proof_is_needed(late, ann, password):
    refused = late.post(DELETE, {})
    assert (refused.status_code, refused.json()["code"]) == (403, "recent_sign_in_required")
    assert still_exists(ann)
    late.post("/api/reauthenticate/", {"password": password})
    assert late.post(DELETE, {}).status_code == 204
    assert not still_exists(ann)


def test_a_sign_in_just_now_is_no_proof(hers, ann):
    refused = hers.post(DELETE, {})
    assert (refused.status_code, refused.json()["code"]) == (403, "recent_sign_in_required")
    assert still_exists(ann)


def test_with_a_second_factor_a_password_is_not_enough(client_of, ann, password):
    old, owner = client_of(ann), client_of(ann)
    app, _codes = add_app(owner)
    refused = old.post(DELETE, {"password": password})
    assert (refused.status_code, refused.json()["code"]) == (403, "recent_sign_in_required")
    assert still_exists(ann)
    assert old.post("/api/reauthenticate/", {"code": app.code()}).status_code == 204
    assert old.post(DELETE, {}).status_code == 204


def test_with_a_second_factor_no_password_is_guessed(client_of, ann):
    old, owner = client_of(ann), client_of(ann)
    add_app(owner)
    AttemptCounter.objects.all().delete()
    assert old.post(DELETE, {"password": "not the right passphrase"}).status_code == 403
    assert not AttemptCounter.objects.exists()


def test_a_browser_is_signed_out_and_clears_its_cache(browser_of, ann, password):
    browser = browser_of(ann)
    response = browser.post(DELETE, {"password": password}, "application/json")
    assert (response.status_code, response.headers["Clear-Site-Data"]) == (204, '"cache"')
    assert response.cookies[settings.SESSION_COOKIE_NAME]["max-age"] == 0
    assert not still_exists(ann)


def test_a_client_gets_no_clear_site_data(hers, password):
    assert "Clear-Site-Data" not in hers.post(DELETE, {"password": password}).headers


def test_a_superuser_can_delete_the_own_account_as_on_the_page(client_of, staff, password):
    assert client_of(staff).post(DELETE, {"password": password}).status_code == 204


def test_a_deletion_needs_a_sign_in(anonymous, ann, password):
    assert anonymous.post(DELETE, {"password": password}).status_code == 401
    assert still_exists(ann)


def test_a_deleted_name_and_address_can_be_registered_again(hers, anonymous, password):
    hers.post(DELETE, {"password": password})
    body = {"username": "ann", "email": "ann@example.org", "password": "a quite different passphrase"}
    assert anonymous.post("/api/register/", body).status_code == 201
