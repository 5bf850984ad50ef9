"""What browsers, crawlers and password managers ask for at fixed addresses."""

import pytest

pytestmark = pytest.mark.django_db


def test_a_password_manager_is_sent_to_the_form_for_a_new_password(browser_of, ann):
    anns = browser_of(ann)
    response = anns.get("/.well-known/change-password")
    assert (response.status_code, response.headers["Location"]) == (302, "/accounts/password_change/")
    assert anns.get(response.headers["Location"]).status_code == 200


def test_a_well_known_address_that_is_not_there_is_404(browser):
    path = "/.well-known/resource-that-should-not-exist-whose-status-code-should-not-be-200"
    assert browser().get(path).status_code == 404


def test_the_icon_is_where_browsers_look_for_it(browser):
    response = browser().get("/favicon.ico")
    assert (response.status_code, response.headers["Location"]) == (302, "/static/accounts/favicon.svg")


def test_crawlers_are_told_what_to_leave_alone(browser):
    response = browser().get("/robots.txt")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    lines = response.content.decode().splitlines()
    assert {"User-agent: *", "Disallow: /accounts/", "Disallow: /admin/"} <= set(lines)
    assert "Disallow: /" not in lines
