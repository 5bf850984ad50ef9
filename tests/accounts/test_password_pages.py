"""The pages that change and reset the password."""

from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings

from accounts.models import Session
from accounts.sessions import SessionStore
from tests.accounts.test_session_pages import NEW_PASSWORD, key_of, signed_in
from tests.conftest import newest_link

pytestmark = pytest.mark.django_db


@pytest.fixture
def reset_path(browser, mailoutbox, django_capture_on_commit_callbacks):
    """Returns a function that requests a reset on the page and returns the path of the link in the mail."""

    def read(user):
        with django_capture_on_commit_callbacks(execute=True):
            browser().post("/accounts/password_reset/", {"email": user.email})
        return newest_link(mailoutbox, r"/accounts/reset/[^/\s]+/[^/\s]+/").group()

    return read


# Changes


def change(browser, old, new):
    form = {"old_password": old, "new_password1": new}
    return browser.post("/accounts/password_change/", form)


def test_a_changed_password_signs_in(browser_of, anonymous, ann, password):
    change(browser_of(ann), password, NEW_PASSWORD)
    assert anonymous.sign_in(ann.username, NEW_PASSWORD).status_code == 200


def test_the_old_password_is_refused_after_a_change(browser_of, anonymous, ann, password):
    change(browser_of(ann), password, NEW_PASSWORD)
    assert anonymous.sign_in(ann.username, password).status_code == 401


def test_the_browser_stays_signed_in_after_a_password_change(browser_of, ann, password):
    browser = browser_of(ann)
    change(browser, password, NEW_PASSWORD)
    assert signed_in(browser)


def test_a_password_change_creates_a_new_session_key(browser, browser_of, ann, password):
    anns = browser_of(ann)
    replay = browser()
    replay.cookies[settings.SESSION_COOKIE_NAME] = key_of(anns)
    change(anns, password, NEW_PASSWORD)
    assert not signed_in(replay)


def test_the_wrong_old_password_changes_nothing(browser_of, anonymous, ann, password):
    change(browser_of(ann), "not the right passphrase", NEW_PASSWORD)
    assert anonymous.sign_in(ann.username, password).status_code == 200


@pytest.mark.parametrize("new", ["too short", "manchesterunited", "x" * 129, "kp7-vz2-mq9-wx4-" * 65_536])
def test_a_bad_new_password_changes_nothing(browser_of, anonymous, ann, password, new):
    change(browser_of(ann), password, new)
    assert anonymous.sign_in(ann.username, password).status_code == 200


@pytest.mark.parametrize(
    "new", ["  blanks before and after  ", "🐙🦔🪁🧶🥁🎏🪗🧭🌵🛶🥨🪐🧿🎐🦩", "kp7-vz2-mq9-wx4-" * 8]
)
def test_a_new_password_is_stored_exactly(browser_of, anonymous, ann, password, new):
    change(browser_of(ann), password, new)
    assert anonymous.sign_in(ann.username, new).status_code == 200


def test_a_password_does_not_expire(clock, browser, ann, password):
    clock.shift(timedelta(days=3 * 365))
    response = browser().post("/accounts/login/", {"username": ann.username, "password": password})
    assert response.headers["Location"] == "/"


# Resets


def test_a_reset_request_redirects(browser, ann):
    response = browser().post("/accounts/password_reset/", {"email": ann.email})
    assert (response.status_code, response.headers["Location"]) == (302, "/accounts/password_reset/done/")


def test_an_unknown_address_redirects_to_the_same_page(browser, ann):
    response = browser().post("/accounts/password_reset/", {"email": "nobody@example.org"})
    assert (response.status_code, response.headers["Location"]) == (302, "/accounts/password_reset/done/")


@pytest.mark.parametrize(
    "path", ["/accounts/password_reset/", "/accounts/password_reset/done/", "/accounts/reset/done/"]
)
def test_the_pages_of_a_reset_exist(browser, path):
    assert browser().get(path).status_code == 200


def test_the_reset_link_shows_the_form_without_a_redirect(browser, reset_path, ann):
    response = browser().get(reset_path(ann))
    assert response.status_code == 200
    assert b'name="new_password1"' in response.content


def test_a_get_of_the_reset_link_stores_no_row(browser, reset_path, ann):
    response = browser().get(reset_path(ann))
    assert settings.SESSION_COOKIE_NAME not in response.cookies
    assert not Session.objects.exists()


def test_the_page_of_the_reset_link_is_not_cached(browser, reset_path, ann):
    assert "no-store" in browser().get(reset_path(ann)).headers["Cache-Control"]


def reset(browser, link, new=NEW_PASSWORD):
    return browser.post(link, {"new_password1": new})


def test_a_reset_redirects(browser, reset_path, ann):
    response = reset(browser(), reset_path(ann))
    assert (response.status_code, response.headers["Location"]) == (302, "/accounts/reset/done/")


def test_the_new_password_signs_in_after_a_reset(browser, reset_path, anonymous, ann):
    reset(browser(), reset_path(ann))
    assert anonymous.sign_in(ann.username, NEW_PASSWORD).status_code == 200


def test_a_reset_on_the_page_does_not_sign_in(browser, reset_path, ann):
    visitor = browser()
    reset(visitor, reset_path(ann))
    assert not signed_in(visitor)


@pytest.mark.parametrize("method", ["get", "head"])
def test_a_get_request_does_not_use_up_the_reset_link(browser, reset_path, ann, method):
    link = reset_path(ann)
    getattr(browser(), method)(link)
    assert reset(browser(), link).status_code == 302


def test_the_reset_link_can_be_used_once(browser, reset_path, anonymous, ann):
    link = reset_path(ann)
    reset(browser(), link)
    reset(browser(), link, "yet another passphrase")
    assert anonymous.sign_in(ann.username, "yet another passphrase").status_code == 401


def test_a_used_reset_link_shows_no_form(browser, reset_path, ann):
    link = reset_path(ann)
    reset(browser(), link)
    assert b'name="new_password1"' not in browser().get(link).content


def test_the_reset_link_expires_after_an_hour(browser, reset_path, ann, clock):
    link = reset_path(ann)
    clock.shift(timedelta(hours=1, minutes=1))
    assert b'name="new_password1"' not in browser().get(link).content


@pytest.mark.parametrize("new", ["too short", "manchesterunited", "x" * 129])
def test_a_bad_password_is_refused_at_a_reset_on_the_page(browser, reset_path, anonymous, ann, new):
    reset(browser(), reset_path(ann), new)
    assert anonymous.sign_in(ann.username, new).status_code in {400, 401}


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/reset/MQ/x/",
        "/accounts/reset/MQ/set-password/",
        "/accounts/reset/x/x/",
        "/accounts/reset/%00/%00/",
        "/accounts/reset/%ff/%ff/",
        "/accounts/reset/LTE/a-b/",
        "/accounts/reset/" + "9" * 400 + "/a-b/",
        "/accounts/reset/OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk/a-b/",
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_invalid_reset_link_shows_no_form(browser, ann, path, method):
    response = getattr(browser(), method)(path)
    assert response.status_code < 500
    assert b'name="new_password1"' not in response.content


@pytest.mark.parametrize("key", [None, "", "x", "\0", "ü" * 32])
def test_an_invalid_key_belongs_to_no_session(db, key):
    assert not SessionStore().exists(key)
    assert not async_to_sync(SessionStore().aexists)(key)
