"""Session cookies of the site before sign in at the first page, once."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import OldCredential, SignIn, User
from tests import old_site
from tests.conftest import Browser
from tests.old_site import code_now, session_content, session_cookie, session_row

pytestmark = pytest.mark.django_db

KEY = "abcdefghijklmnopqrstuvwxyz012345"
MIDDLEWARE = "accounts.moving_in.middleware.OldSessionMiddleware"
AUTHENTICATION = "accounts.http.middleware.AuthenticationMiddleware"


@pytest.fixture(autouse=True)
def legacy_settings():
    layers = list(settings.MIDDLEWARE)
    layers.insert(layers.index(AUTHENTICATION) + 1, MIDDLEWARE)
    with override_settings(
        LEGACY_SESSION_KEY=old_site.SECRET_KEY,
        LEGACY_SESSION_UNTIL=timezone.now() + timedelta(days=20),
        MIDDLEWARE=layers,
    ):
        yield


def move(folder, *rows, user=old_site.USER, **tables):
    return old_site.import_users(old_site.write_dump(folder, [user], sessions__session=rows, **tables))


@pytest.fixture
def carol(tmp_path):
    move(tmp_path, session_row(KEY, session_content()))
    return User.objects.get(username="carol")


def browser_with(cookie, **headers):
    """A browser with an old session. Without headers, the user enters the address of each page."""
    browser = Browser(headers=headers or {"Sec-Fetch-Site": "none"})
    browser.cookies["sessionid"] = cookie
    return browser


def is_signed_in(browser, path="/accounts/profile/", **headers):
    return browser.get(path, headers=headers).status_code == 200


# What it gives


def test_the_first_page_signs_in_with_a_session_of_ours(carol):
    browser = browser_with(KEY)
    assert is_signed_in(browser)
    assert browser.cookies["sessionid"].value == ""
    assert is_signed_in(browser)
    sign_in = SignIn.objects.exclude(name="Previous site").get()
    assert (sign_in.user, sign_in.kind, sign_in.idle_timeout) == (carol, "browser", settings.REMEMBER_ME_IDLE_TIMEOUT)


def test_a_browser_app_is_signed_in_at_its_first_call(carol):
    assert is_signed_in(browser_with(KEY), "/api/session/")


def test_a_signed_cookie_signs_in(carol):
    assert is_signed_in(browser_with(session_cookie(session_content())))


def test_an_old_session_counts_as_no_recent_proof(carol):
    browser = browser_with(KEY)
    assert is_signed_in(browser)
    assert browser.get("/accounts/email/").url.startswith("/accounts/confirm/")


def test_a_page_has_no_old_session_to_read_once_signed_in(carol, browser_of):
    browser = browser_with(KEY)
    is_signed_in(browser)
    browser.cookies["sessionid"] = KEY
    assert is_signed_in(browser)
    with CaptureQueriesContext(connection) as queries:
        browser.get("/accounts/profile/")
    assert not [each for each in queries if "oldcredential" in each["sql"]]


# Once


def test_an_old_session_signs_in_once(carol):
    assert is_signed_in(browser_with(KEY))
    assert not is_signed_in(browser_with(KEY))


def test_a_signed_cookie_signs_in_once(carol):
    cookie = session_cookie(session_content())
    assert is_signed_in(browser_with(cookie))
    assert not is_signed_in(browser_with(cookie))


def test_a_used_session_stays_used_after_another_import(carol, tmp_path):
    assert is_signed_in(browser_with(KEY))
    move(tmp_path, session_row(KEY, session_content()))
    assert not is_signed_in(browser_with(KEY))


def test_a_session_that_ended_there_before_another_import_is_refused(carol, tmp_path):
    move(tmp_path, session_row("z" * 32, session_content()))
    assert not is_signed_in(browser_with(KEY))
    assert is_signed_in(browser_with("z" * 32))


def test_an_import_without_sessions_ends_none(carol, tmp_path):
    move(tmp_path)
    assert is_signed_in(browser_with(KEY))


def test_expired_rows_of_used_sessions_are_pruned(carol, clock):
    clock.shift(timedelta(days=40_000))
    assert sum(OldCredential.objects.prune()) == 1


# Attacks

OTHER_KEY = "another secret key, which the old site has never had"
ROWS = {
    "another signature": session_row(KEY, session_content(), key=OTHER_KEY),
    "another hash of the password": session_row(KEY, session_content(encoded="md5$other$hash")),
    "no hash": session_row(KEY, {"_auth_user_id": "7"}),
    "expired": session_row(KEY, session_content(), expires="2026-01-01T00:00Z"),
    "of nobody": session_row(KEY, {}),
    "an unknown user": session_row(KEY, session_content(8)),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_session_that_is_not_valid_is_not_imported(row, tmp_path):
    move(tmp_path, row)
    assert not OldCredential.objects.exists()
    assert not is_signed_in(browser_with(KEY))


COOKIES = {
    "unknown": "z" * 32,
    "another signature": session_cookie(session_content(), key=OTHER_KEY),
    "another hash of the password": session_cookie(session_content(encoded="md5$other$hash")),
    "no hash": session_cookie({"_auth_user_id": "7"}),
    "an unknown user": session_cookie(session_content(8)),
    "a row as a cookie": session_row(KEY, session_content())["session_data"],
    "too long": "a" * 5000,
    "empty": "",
    "not ASCII": "é" * 32,
    "the stored hash": "0" * 64,
}


@pytest.mark.parametrize("cookie", COOKIES.values(), ids=COOKIES)
def test_a_cookie_that_is_not_valid_signs_nobody_in(cookie, carol):
    assert not is_signed_in(browser_with(cookie))
    assert SignIn.objects.count() == 1


def test_the_id_of_a_row_is_no_cookie(carol):
    assert not is_signed_in(browser_with(OldCredential.objects.get().pk.hex))


@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "md5$other$hash"}])
def test_a_changed_account_takes_no_old_session(change, carol):
    User.objects.filter(pk=carol.pk).update(**change)
    assert not is_signed_in(browser_with(KEY))
    assert not is_signed_in(browser_with(session_cookie(session_content())))


def test_old_sessions_are_refused_after_the_time_in_the_settings(carol):
    with override_settings(LEGACY_SESSION_UNTIL=timezone.now()):
        assert not is_signed_in(browser_with(KEY))


# A sibling domain can plant the cookie of an old session of its own, and link to a page here.
FOREIGN = [
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Referer": "https://testserver/"},
    {"Sec-Fetch-Site": "same-site", "Origin": "https://sibling.example.org"},
    {"Origin": "https://sibling.example.org"},
    {"Referer": "https://testserver.example.org/"},
    {"User-Agent": "without any of these headers"},
]
OWN = [
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-site", "Origin": "https://app.example.org"},
    {"Origin": "https://app.example.org"},
    {"Referer": "https://testserver/accounts/login/"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@override_settings(APP_ORIGINS=["https://app.example.org"])
def test_another_site_starts_no_sign_in_with_an_old_session(headers, carol):
    assert not is_signed_in(browser_with(KEY, **headers), "/api/session/")
    assert OldCredential.objects.get().used_at is None


@pytest.mark.parametrize("headers", OWN)
@override_settings(APP_ORIGINS=["https://app.example.org"])
def test_an_own_page_or_the_user_starts_the_sign_in(headers, carol):
    assert is_signed_in(browser_with(KEY, **headers), "/api/session/")


def test_the_page_after_a_link_from_another_site_signs_in(carol):
    browser = browser_with(KEY, **{"Sec-Fetch-Site": "cross-site"})
    assert not is_signed_in(browser)
    assert is_signed_in(browser, **{"Sec-Fetch-Site": "same-origin"})


def test_two_old_sessions_sign_nobody_in(carol):
    # A sibling domain can add a cookie, but cannot replace the one of this host.
    browser = browser_with("")
    browser.cookies.clear()
    response = browser.get("/accounts/profile/", headers={"Cookie": f"sessionid=planted12345678; sessionid={KEY}"})
    assert response.status_code == 302
    assert OldCredential.objects.get().used_at is None


def test_an_authorization_header_is_never_replaced(carol):
    response = browser_with(KEY).get("/api/me/", headers={"Authorization": "Bearer wrong"})
    assert response.status_code == 401
    assert OldCredential.objects.get().used_at is None


def test_a_form_does_not_use_it_up(carol):
    browser_with(KEY).post("/accounts/login/", {"username": "x", "password": "y"})
    assert OldCredential.objects.get().used_at is None


# Second factor

APP = {"id": 1, "user": 7, "type": "totp", "data": {"secret": old_site.APP_SECRET}}


def test_a_user_with_a_second_factor_is_asked_for_it(tmp_path):
    move(tmp_path, session_row(KEY, session_content()), mfa__authenticator=[APP])
    response = browser_with(KEY).get("/accounts/profile/")
    assert response.url == "/accounts/second-step/?next=/accounts/profile/"
    assert not SignIn.objects.exclude(name="Previous site").exists()


def test_a_second_step_after_an_old_session_is_no_recent_proof(tmp_path):
    move(tmp_path, session_row(KEY, session_content()), mfa__authenticator=[APP])
    browser = browser_with(KEY)
    page = browser.get("/accounts/profile/").url
    assert browser.post(page, {"code": code_now()}).url == "/accounts/profile/"
    sign_in = SignIn.objects.exclude(name="Previous site").get()
    assert (sign_in.level, sign_in.is_recently_authenticated()) == (1, False)
    assert browser.get("/accounts/email/").url.startswith("/accounts/confirm/")


def test_a_user_who_must_have_a_second_factor_signs_in_again(carol):
    with override_settings(SECOND_FACTOR="all"):
        response = browser_with(KEY).get("/accounts/profile/")
    assert response.url == "/accounts/login/?next=/accounts/profile/"
    assert OldCredential.objects.get().used_at is None


def test_an_app_keeps_its_old_session_for_a_page(tmp_path):
    move(tmp_path, session_row(KEY, session_content()), mfa__authenticator=[APP])
    browser = browser_with(KEY)
    assert not is_signed_in(browser, "/api/session/")
    assert browser.cookies["sessionid"].value == KEY
    assert browser.get("/accounts/profile/").url.startswith("/accounts/second-step/")
