"""The client that /compare/ signs in."""

from datetime import timedelta

import pytest
from django.conf import settings

from accounts.models import SignIn
from tests.second_factors import add_app

pytestmark = pytest.mark.django_db


def test_the_page_signs_in_as_a_listed_client(browser_of, ann):
    browser = browser_of(ann)
    response = browser.post("/compare/client/")
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    kinds = [each["kind"] for each in browser.get("/api/sign-ins/").json()["results"]]
    assert sorted(kinds) == ["browser", "client"]


def test_the_clients_tokens_work_and_end_with_it(browser_of, ann, anonymous):
    tokens = browser_of(ann).post("/compare/client/").json()
    anonymous.access = tokens["access"]
    assert anonymous.get("/api/me/").json()["username"] == ann.username
    assert anonymous.post("/api/token/blacklist/", {"refresh": tokens["refresh"]}).status_code == 200
    assert anonymous.get("/api/me/").status_code == 401


def test_an_abandoned_client_expires_within_the_hour(browser_of, ann, clock):
    browser_of(ann).post("/compare/client/")
    clock.shift(timedelta(hours=1))
    assert not SignIn.objects.filter(kind=SignIn.Kind.CLIENT).live().exists()


def test_a_stale_password_gets_no_client(browser_of, ann, clock):
    browser = browser_of(ann)
    clock.shift(settings.REAUTHENTICATION_TIMEOUT)
    response = browser.post("/compare/client/")
    assert (response.status_code, response.json()["code"]) == (403, "proof_needed")
    assert "/accounts/confirm/?next=/compare/" in browser.get("/compare/").content.decode()
    assert not SignIn.objects.filter(kind=SignIn.Kind.CLIENT).exists()


def test_an_anonymous_user_gets_no_client(browser):
    assert browser().post("/compare/client/").status_code == 403
    assert not SignIn.objects.exists()


def test_a_token_cannot_create_a_client(client_of, ann):
    assert client_of(ann).post("/compare/client/").status_code == 403
    assert SignIn.objects.count() == 1


def test_another_site_gets_no_client(browser_of, ann):
    browser = browser_of(ann)
    browser.handler.enforce_csrf_checks = True
    assert browser.post("/compare/client/").status_code == 403
    assert not SignIn.objects.filter(kind=SignIn.Kind.CLIENT).exists()


def test_a_sign_in_without_the_second_factor_gets_no_client(browser_of, ann, hers):
    browser = browser_of(ann)
    add_app(hers)
    response = browser.post("/compare/client/")
    assert (response.status_code, response.json()["code"]) == (403, "proof_needed")
    assert SignIn.objects.filter(kind=SignIn.Kind.CLIENT).count() == 1
