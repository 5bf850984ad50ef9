"""Responses to methods that are not allowed: an explaining page for browsers, JSON for API clients."""

import json
from uuid import UUID

import pytest
from django.urls import resolve

from accounts.http import post_only
from tests.security.urls import all_urls

pytestmark = pytest.mark.django_db

FORM_ONLY = [
    ("/accounts/logout/", "/"),
    ("/accounts/email/ask/", "/accounts/profile/"),
    ("/admin/logout/", "/admin/"),
    ("/admin/accounts/securityevent/export/?within=day", "/admin/accounts/securityevent/"),
]


@pytest.mark.parametrize(("address", "page"), FORM_ONLY)
def test_a_get_of_a_post_only_address_gets_an_explanation(browser_of, staff, address, page):
    response = browser_of(staff).get(address)
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]
    content = response.content.decode()
    assert "This is not possible here" in content
    assert f'href="{page}">Go to the page with the form' in content


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "BREW"])
@pytest.mark.parametrize("address", ["/", "/accounts/signup/", "/compare/", "/admin/accounts/user/"])
def test_an_unsupported_method_gets_an_error_page(browser_of, staff, address, method):
    response = browser_of(staff).generic(method, address)
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD, POST"
    assert "This is not possible here" in response.content.decode()


def test_no_405_response_is_empty(browser_of, staff, subtests):
    sues = browser_of(staff)
    for place in all_urls():
        with subtests.test(str(place)):
            response = sues.get(place.path())
            if response.status_code == 405:
                assert response.content
                assert place.is_api or post_only.page_with_form(place.path()), "PAGES_WITH_FORM does not know it"
                assert resolve(post_only.page_with_form(place.path()) or "/")
            sues.force_login(staff)


@pytest.mark.parametrize("method", ["PUT", "TRACE"])
@pytest.mark.parametrize(
    "address",
    [
        "/api/token/",
        "/api/register/",
        "/api/session/",
        "/api/device/code/",
        "/health/live",
        "/.well-known/jwks.json",
    ],
)
def test_api_clients_get_json(browser, address, method):
    response = browser().generic(method, address)
    assert response.status_code == 405
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(response.content)["code"] == "method_not_allowed"
    assert response.headers["Allow"]


# Sign-ins after a lost session


def sign_in_at(browser, address, user, password):
    return browser.post(address, {"username": user.username, "password": password})


@pytest.mark.parametrize(("address", "page"), FORM_ONLY)
def test_a_sign_in_never_redirects_to_a_post_only_address(browser, staff, password, address, page):
    sues = browser()
    lost = sues.post(address)
    login = lost.headers.get("Location", "")
    # Signing out requires no sign-in.
    login = login if "/login/" in login else f"/accounts/login/?next={address}"
    assert sign_in_at(sues, login, staff, password).headers["Location"] == page
    assert sues.get(page).status_code == 200


def test_choosing_a_language_never_redirects_to_post_only(browser_of, ann):
    response = browser_of(ann).post("/accounts/language/", {"language": "de", "next": "/accounts/email/ask/"})
    assert response.headers["Location"] == "/accounts/profile/"


@pytest.mark.parametrize("address", ["/accounts/activity/", f"/accounts/sign-ins/{UUID(int=7)}/end/", "/compare/#live"])
def test_a_sign_in_redirects_to_pages(browser, ann, password, address):
    response = browser().post("/accounts/login/", {"username": "ann", "password": password, "next": address})
    assert response.headers["Location"] == address
