"""Staff and the second factor: the admin's sign-in in two steps, and staff who must have a factor."""

from urllib.parse import parse_qs, urlsplit

import pytest

from accounts.models import AuthenticatorApp, SignIn, User
from tests.accounts.admin_pages import EVENTS, SIGN_INS, USERS, act, text_of
from tests.accounts.conftest import latest_event
from tests.conftest import Browser
from tests.second_factors import add_app

pytestmark = pytest.mark.django_db

ADMIN_PAGES = ["/admin/", USERS, SIGN_INS, EVENTS, "/admin/blocklist/entry/", "/admin/auth/group/"]


@pytest.fixture
def app(client_of, staff):
    return add_app(client_of(staff))[0]


def sign_in(user, password, browser=None, to=USERS):
    """Sends the form of the admin. Returns the browser and the response."""
    browser = browser or Browser()
    form = {"username": user.username, "password": password, "next": to}
    return browser, browser.post(f"/admin/login/?next={to}", form)


def place(response):
    """Returns the path and `next` of a redirect."""
    location = urlsplit(response.headers["Location"])
    return location.path, parse_qs(location.query).get("next", [""])[0]


def enter(browser, response, **proof):
    return browser.post(response.headers["Location"], proof)


# Two steps


def test_the_form_of_the_admin_leads_to_the_second_step(app, staff, password):
    _browser, response = sign_in(staff, password)
    assert place(response) == ("/accounts/second-step/", USERS)


def test_the_password_alone_shows_no_page_of_the_admin(app, staff, password):
    browser, _response = sign_in(staff, password)
    assert {browser.get(url).status_code for url in ADMIN_PAGES} == {302}


def test_the_password_alone_starts_no_sign_in(app, staff, password):
    before = SignIn.objects.count()
    sign_in(staff, password)
    assert SignIn.objects.count() == before


def test_both_steps_sign_in_to_the_admin_and_return(app, staff, password):
    browser, response = sign_in(staff, password)
    assert place(enter(browser, response, code=app.code()))[0] == USERS
    assert browser.get(USERS).status_code == 200


def test_without_a_next_page_both_steps_lead_to_the_overview(app, staff, password):
    browser = Browser()
    response = browser.post("/admin/login/", {"username": staff.username, "password": password})
    assert place(enter(browser, response, code=app.code()))[0] == "/admin/"


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "/\\evil.example"])
def test_the_steps_lead_to_no_other_site(app, staff, password, target):
    browser, response = sign_in(staff, password, to=target)
    assert place(enter(browser, response, code=app.code()))[0] == "/admin/"


def test_a_wrong_code_shows_no_page_of_the_admin(app, staff, password):
    browser, response = sign_in(staff, password)
    enter(browser, response, code=app.wrong_code())
    assert browser.get(USERS).status_code == 302


def test_the_first_step_ends_the_sign_in_of_this_browser(app, browser_of, staff, ann, password):
    browser = browser_of(ann)
    sign_in(staff, password, browser)
    assert browser.get("/accounts/profile/").status_code == 302


def test_a_user_who_is_not_staff_gets_no_second_step_here(client_of, ann, password):
    add_app(client_of(ann))
    _browser, response = sign_in(ann, password)
    assert response.status_code == 200


def test_staff_without_a_factor_sign_in_by_one_step(staff, password):
    browser, response = sign_in(staff, password)
    assert place(response)[0] == USERS
    assert browser.get(USERS).status_code == 200


def test_without_second_factors_the_password_signs_in(app, staff, password, settings):
    settings.SECOND_FACTOR = "off"
    browser, _response = sign_in(staff, password)
    assert browser.get(USERS).status_code == 200


# Staff who must have a factor


@pytest.mark.parametrize("setting", ["staff", "all"])
def test_staff_without_a_factor_get_only_the_page_that_adds_one(staff, password, settings, setting):
    settings.SECOND_FACTOR = setting
    browser, response = sign_in(staff, password)
    assert place(response) == ("/accounts/second-step/add/", USERS)
    assert browser.get(response.headers["Location"]).status_code == 200
    assert {browser.get(url).status_code for url in [*ADMIN_PAGES, "/accounts/profile/"]} == {302}
    assert browser.get("/api/me/").status_code == 401
    assert not SignIn.objects.exists()


@pytest.mark.parametrize("setting", ["staff", "all"])
def test_staff_who_are_signed_in_by_password_are_signed_out(page, settings, setting):
    settings.SECOND_FACTOR = setting
    assert {page.get(url).status_code for url in ADMIN_PAGES} == {302}


def test_staff_without_a_factor_change_nothing(page, ann, settings):
    settings.SECOND_FACTOR = "staff"
    act(page, USERS, "deactivate", ann)
    assert User.objects.get(pk=ann.pk).is_active


def test_a_user_who_becomes_staff_must_have_a_factor(browser_of, ann, settings):
    settings.SECOND_FACTOR = "staff"
    browser = browser_of(ann)
    User.objects.filter(pk=ann.pk).update(is_staff=True)
    assert browser.get("/accounts/profile/").status_code == 302


def test_staff_with_a_factor_sign_in_where_it_is_required(app, staff, password, settings):
    settings.SECOND_FACTOR = "staff"
    browser, response = sign_in(staff, password)
    enter(browser, response, code=app.code())
    assert browser.get(USERS).status_code == 200


# What staff see


def test_the_page_of_a_sign_in_shows_what_was_proved(app, staff, password):
    browser, response = sign_in(staff, password)
    enter(browser, response, code=app.code())
    sign_in_row = SignIn.objects.filter(user=staff).latest("created_at")
    assert "password, authenticator app" in text_of(browser.get(f"{SIGN_INS}{sign_in_row.pk}/change/"))


def test_the_events_of_factors_are_listed(app, browser_of, staff, password):
    browser, response = sign_in(staff, password)
    enter(browser, response, code=app.code())
    assert "second factor added" in text_of(browser.get(f"{EVENTS}?type=factor_added"))


def test_the_name_of_a_factor_is_inert_text(app, staff, password):
    AuthenticatorApp.objects.update(name="<img src=x onerror=alert(1)>")
    browser, response = sign_in(staff, password)
    enter(browser, response, code=app.code())
    assert b"<img src=x" not in browser.get(f"{USERS}{staff.pk}/change/").content


def test_a_failed_second_step_is_an_event(app, staff, password):
    browser, response = sign_in(staff, password)
    enter(browser, response, code=app.wrong_code())
    assert latest_event("second_step_failed").user == staff
