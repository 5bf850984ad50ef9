"""Timeouts of browser sessions, and the number of queries of a request."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from accounts.models import SignIn
from tests.accounts.test_session_pages import PROFILE, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def remembered_browser_of(browser, password):
    """Returns a function that signs a user in with "keep me signed in" and returns the browser."""

    def sign_in(user):
        kept = browser()
        kept.post("/accounts/login/", {"username": user.username, "password": password, "keep": "on"})
        return kept

    return sign_in


def test_without_remember_me_the_cookie_ends_with_the_browser(browser_of, ann):
    morsel = browser_of(ann).cookies[settings.SESSION_COOKIE_NAME]
    assert (morsel["max-age"], morsel["expires"]) == ("", "")


def test_with_remember_me_the_cookie_outlives_the_browser(remembered_browser_of, ann):
    morsel = remembered_browser_of(ann).cookies[settings.SESSION_COOKIE_NAME]
    assert timedelta(days=14) <= timedelta(seconds=int(morsel["max-age"])) <= timedelta(days=30)


def test_without_remember_me_a_session_survives_an_idle_evening(clock, browser_of, ann):
    browser = browser_of(ann)
    clock.shift(timedelta(hours=23))
    assert signed_in(browser)


def test_without_remember_me_a_session_expires_after_an_idle_day(clock, browser_of, ann):
    browser = browser_of(ann)
    clock.shift(timedelta(days=1, minutes=6))
    assert not signed_in(browser)


def test_without_remember_me_use_extends_the_session(clock, browser_of, ann):
    browser = browser_of(ann)
    clock.shift(timedelta(hours=20))
    browser.get(PROFILE)
    clock.shift(timedelta(hours=20))
    assert signed_in(browser)


def test_with_remember_me_a_session_survives_13_idle_days(clock, remembered_browser_of, ann):
    browser = remembered_browser_of(ann)
    clock.shift(timedelta(days=13, hours=23))
    assert signed_in(browser)


def test_with_remember_me_a_session_expires_after_14_idle_days(clock, remembered_browser_of, ann):
    browser = remembered_browser_of(ann)
    clock.shift(timedelta(days=14, minutes=6))
    assert not signed_in(browser)


def test_with_remember_me_use_extends_the_session(clock, remembered_browser_of, ann):
    browser = remembered_browser_of(ann)
    clock.shift(timedelta(days=12))
    browser.get(PROFILE)
    clock.shift(timedelta(days=12))
    assert signed_in(browser)


def test_a_session_in_daily_use_lasts_until_day_30(clock, remembered_browser_of, ann):
    browser = remembered_browser_of(ann)
    for _ in range(29):
        clock.shift(timedelta(days=1))
        browser.get(PROFILE)
    clock.shift(timedelta(hours=23))
    assert signed_in(browser)


def test_a_session_in_use_expires_after_30_days(clock, remembered_browser_of, ann):
    browser = remembered_browser_of(ann)
    for _ in range(29):
        clock.shift(timedelta(days=1))
        browser.get(PROFILE)
    clock.shift(timedelta(days=1, minutes=1))
    assert not signed_in(browser)


def test_an_edited_cookie_does_not_extend_a_session(clock, browser_of, ann):
    browser = browser_of(ann)
    browser.cookies[settings.SESSION_COOKIE_NAME]["max-age"] = "99999999"
    clock.shift(timedelta(days=2))
    assert not signed_in(browser)


def test_an_expired_session_is_not_listed(clock, browser_of, client_of, ann):
    browser_of(ann)
    clock.shift(timedelta(days=2))
    assert client_of(ann).get("/api/sign-ins/").json()["count"] == 1


def test_last_seen_is_not_written_on_every_request(clock, browser_of, ann):
    browser = browser_of(ann)
    before = SignIn.objects.get().last_seen_at
    clock.shift(timedelta(minutes=4))
    browser.get(PROFILE)
    assert SignIn.objects.get().last_seen_at == before


def test_last_seen_is_written_after_five_minutes(clock, browser_of, ann):
    browser = browser_of(ann)
    clock.shift(timedelta(minutes=6))
    browser.get(PROFILE)
    assert SignIn.objects.get().last_seen_at == timezone.now()


@pytest.mark.parametrize("path", [PROFILE, "/api/me/"])
def test_one_query_authenticates_a_request(browser_of, ann, django_assert_num_queries, path):
    browser = browser_of(ann)
    with django_assert_num_queries(1):
        assert browser.get(path).status_code == 200


def test_no_query_authenticates_a_visitor(browser, django_assert_num_queries):
    with django_assert_num_queries(0):
        browser().get(PROFILE)
