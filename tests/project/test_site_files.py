"""Fixed addresses for browsers, crawlers and password managers."""

import pytest

pytestmark = pytest.mark.django_db


def test_change_password_redirects_to_the_form(browser_of, ann):
    anns = browser_of(ann)
    response = anns.get("/.well-known/change-password")
    assert (response.status_code, response.headers["Location"]) == (302, "/accounts/password_change/")
    assert anns.get(response.headers["Location"]).status_code == 200


def test_an_unknown_well_known_address_is_not_found(browser):
    path = "/.well-known/resource-that-should-not-exist-whose-status-code-should-not-be-200"
    assert browser().get(path).status_code == 404


def test_the_icon_is_at_its_fixed_address(browser):
    response = browser().get("/favicon.ico")
    assert (response.status_code, response.headers["Location"]) == (302, "/static/accounts/favicon.svg")


def test_robots_txt_excludes_private_paths(browser):
    response = browser().get("/robots.txt")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    lines = response.content.decode().splitlines()
    assert {"User-agent: *", "Disallow: /accounts/", "Disallow: /admin/"} <= set(lines)
    assert "Disallow: /" not in lines
