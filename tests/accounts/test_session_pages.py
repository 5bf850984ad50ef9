"""Session mode on the pages: sign-up, sign-in, redirects, sign-out and private pages."""

import re
from contextlib import suppress
from importlib import import_module
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError

from accounts.models import SecurityEvent, SignIn, User

pytestmark = pytest.mark.django_db

NEW_PASSWORD = "a quite different passphrase"
PROFILE = "/accounts/profile/"


def key_of(browser):
    return browser.cookies[settings.SESSION_COOKIE_NAME].value


def signed_in(browser):
    """Whether a private page is shown instead of a redirect to the sign-in page."""
    response = browser.get(PROFILE)
    if response.status_code == 200:
        return True
    assert response.status_code == 302
    assert urlsplit(response.headers["Location"]).path == "/accounts/login/"
    return False


# Sign-up


SIGN_UP = {
    "username": "carol",
    "email": "carol@example.com",
    "password": NEW_PASSWORD,
    "password1": NEW_PASSWORD,
}


def test_the_sign_up_page_shows_a_form(browser):
    response = browser().get("/accounts/signup/")
    assert response.status_code == 200
    assert b"csrfmiddlewaretoken" in response.content


def test_signing_up_creates_a_user_who_can_sign_in(browser, anonymous):
    browser().post("/accounts/signup/", SIGN_UP)
    assert anonymous.sign_in("carol", NEW_PASSWORD).status_code == 200


def test_signing_up_redirects(browser):
    assert browser().post("/accounts/signup/", SIGN_UP).status_code == 302


@pytest.mark.parametrize("chosen", ["", "too short", "manchesterunited", "x" * 129, "x" * 1_048_576])
def test_a_bad_password_is_refused_at_the_sign_up(browser, chosen):
    browser().post("/accounts/signup/", SIGN_UP | {"password": chosen, "password1": chosen})
    assert not User.objects.filter(username="carol").exists()


@pytest.mark.parametrize("field", ["username", "email"])
def test_a_taken_name_or_address_in_any_case_is_refused(browser, ann, field):
    browser().post("/accounts/signup/", SIGN_UP | {field: getattr(ann, field).upper()})
    assert User.objects.count() == 1


@pytest.mark.parametrize("flag", ["is_staff", "is_superuser"])
def test_a_sign_up_creates_no_staff(browser, flag):
    browser().post("/accounts/signup/", SIGN_UP | {flag: "on"})
    assert getattr(User.objects.get(username="carol"), flag) is False


# Sign-in


def test_the_right_password_signs_in(browser_of, ann):
    assert signed_in(browser_of(ann))


def test_a_sign_in_adds_one_row_for_a_browser(browser_of, ann):
    browser_of(ann)
    assert list(SignIn.objects.values_list("user", "kind")) == [(ann.pk, "browser")]


def test_a_sign_in_on_the_page_adds_one_event(browser_of, ann):
    before = SecurityEvent.objects.count()
    browser_of(ann)
    assert SecurityEvent.objects.count() == before + 1


@pytest.mark.parametrize("wrong", ["", "not the right passphrase", "x" * 1_048_576, "a\x00b"])
def test_a_wrong_password_does_not_sign_in(browser, ann, wrong):
    visitor = browser()
    response = visitor.post("/accounts/login/", {"username": ann.username, "password": wrong})
    assert response.status_code < 500
    assert not signed_in(visitor)


@pytest.mark.parametrize("username", ["", "nobody-here", "a\x00b", "x" * 1_048_576, "' OR 1=1 --", "\u202enna"])
def test_an_unknown_username_does_not_sign_in(browser, ann, password, username):
    visitor = browser()
    response = visitor.post("/accounts/login/", {"username": username, "password": password})
    assert response.status_code < 500
    assert not signed_in(visitor)


def test_a_deactivated_user_does_not_sign_in(browser, ann, password):
    User.objects.filter(pk=ann.pk).update(is_active=False)
    visitor = browser()
    visitor.post("/accounts/login/", {"username": ann.username, "password": password})
    assert not signed_in(visitor)


def test_signing_in_needs_a_csrf_token(browser, ann, password):
    visitor = browser()
    visitor.handler.enforce_csrf_checks = True
    response = visitor.post("/accounts/login/", {"username": ann.username, "password": password})
    assert response.status_code == 403


def test_a_staff_member_can_sign_in_at_the_admin(browser, staff, password):
    visitor = browser()
    visitor.post("/admin/login/?next=/admin/", {"username": staff.username, "password": password, "next": "/admin/"})
    assert visitor.get("/admin/").status_code == 200


def test_a_sign_in_at_the_admin_is_on_the_same_list(browser, staff, password):
    browser().post("/admin/login/?next=/admin/", {"username": staff.username, "password": password, "next": "/admin/"})
    assert list(SignIn.objects.values_list("user", "kind")) == [(staff.pk, "browser")]


def test_a_user_who_is_not_staff_cannot_use_the_admin(browser_of, ann):
    assert browser_of(ann).get("/admin/").status_code == 302


def test_the_admin_refuses_tokens(browser, client_of, staff):
    response = browser().get("/admin/", headers={"authorization": f"Bearer {client_of(staff).access}"})
    assert response.status_code == 302


# Redirects after a sign-in

FOREIGN = [
    "https://evil.example/",
    "http://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "////evil.example/",
    "/\\evil.example/",
    "\\\\evil.example/",
    "http:evil.example",
    "http:///evil.example",
    "https:/evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    " https://evil.example/",
    "\thttps://evil.example/",
    "/\t/evil.example/",
    "/\n/evil.example/",
    "https://testserver@evil.example/",
    "https://testserver.evil.example/",
    "https://evil.example\\@testserver/",
    "ftp://testserver/",
    "\x00//evil.example/",
    "x" * 10_000,
]


@pytest.mark.parametrize("place", ["query", "form"])
@pytest.mark.parametrize("target", FOREIGN, ids=lambda target: repr(target[:40]))
def test_a_sign_in_never_redirects_to_another_site(browser, ann, password, target, place):
    form = {"username": ann.username, "password": password}
    if place == "form":
        response = browser().post("/accounts/login/", form | {"next": target})
    else:
        response = browser().post("/accounts/login/", form, query_params={"next": target})
    location = response.headers["Location"]
    assert urlsplit(location).netloc in {"", "testserver"}
    assert re.match(r"(https://testserver)?/(?![/\\])", location)


def test_a_sign_in_redirects_to_the_requested_page(browser, ann, password):
    response = browser().post(
        "/accounts/login/",
        {"username": ann.username, "password": password, "next": "/accounts/password_change/"},
        query_params={"next": "/accounts/password_change/"},
    )
    assert response.headers["Location"] == "/accounts/password_change/"


# Sign-out


def test_signing_out_makes_the_browser_anonymous(browser_of, ann):
    browser = browser_of(ann)
    browser.post("/accounts/logout/")
    assert not signed_in(browser)


def test_after_signing_out_a_replayed_cookie_is_anonymous(browser, browser_of, ann):
    anns = browser_of(ann)
    replay = browser()
    replay.cookies[settings.SESSION_COOKIE_NAME] = key_of(anns)
    anns.post("/accounts/logout/")
    assert not signed_in(replay)


def test_a_get_request_does_not_sign_out(browser_of, ann):
    browser = browser_of(ann)
    assert browser.get("/accounts/logout/").status_code == 405
    assert signed_in(browser)


def test_signing_out_needs_a_csrf_token(browser_of, ann):
    browser = browser_of(ann)
    browser.handler.enforce_csrf_checks = True
    assert browser.post("/accounts/logout/").status_code == 403
    assert signed_in(browser)


def test_a_running_request_does_not_restore_the_session(browser, browser_of, ann):
    anns = browser_of(ann)
    replay = browser()
    replay.cookies[settings.SESSION_COOKIE_NAME] = key_of(anns)
    slow = import_module(settings.SESSION_ENGINE).SessionStore(key_of(anns))
    slow["basket"] = "full"
    anns.post("/accounts/logout/")
    with suppress(UpdateError):
        slow.save()
    assert not signed_in(replay)


def test_signing_out_ends_this_sign_in_only(browser_of, ann):
    here, there = browser_of(ann), browser_of(ann)
    here.post("/accounts/logout/")
    assert signed_in(there)


# Private pages


PRIVATE = [PROFILE, "/accounts/password_change/"]


@pytest.mark.parametrize("path", PRIVATE)
def test_a_private_page_redirects_visitors_to_the_sign_in(browser, path):
    location = urlsplit(browser().get(path).headers["Location"])
    assert (location.path, location.query) == ("/accounts/login/", f"next={path}")


@pytest.mark.parametrize("path", PRIVATE)
def test_a_private_page_is_not_cached(browser_of, ann, path):
    assert "no-store" in browser_of(ann).get(path).headers["Cache-Control"]


@pytest.mark.parametrize("path", ["/accounts/login/", "/accounts/signup/"])
def test_a_page_that_signs_in_is_not_cached(browser, path):
    assert "no-store" in browser().get(path).headers["Cache-Control"]


def test_the_profile_shows_the_signed_in_user(browser_of, ann):
    assert ann.username in browser_of(ann).get(PROFILE).content.decode()


def test_the_sign_in_page_has_the_name_of_the_site(browser, settings):
    settings.SITE_NAME = "Acme notes"
    assert "Acme notes</title>" in browser().get("/accounts/login/").content.decode()
