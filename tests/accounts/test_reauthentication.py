"""Pages that require recent authentication, and the page that confirms the password."""

from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.utils import timezone

from accounts.models import SecurityEvent, SignIn

pytestmark = pytest.mark.django_db

FRESH, STALE = timedelta(minutes=14), timedelta(minutes=16)
ASKS = ["/accounts/email/", "/accounts/clients/new/", "/accounts/sign-ins/end-others/", "/accounts/sign-ins/end-all/"]


@pytest.fixture
def stale_browser(clock, browser_of, ann):
    browser = browser_of(ann)
    clock.shift(STALE)
    return browser


def confirm(browser, password, to="/accounts/email/"):
    return browser.post("/accounts/confirm/", {"password": password, "next": to})


@pytest.mark.parametrize("path", ASKS)
def test_recent_authentication_shows_the_page_directly(clock, browser_of, ann, path):
    browser = browser_of(ann)
    clock.shift(FRESH)
    assert browser.get(path).status_code == 200


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("path", ASKS)
def test_stale_authentication_asks_for_the_password_and_returns(stale_browser, path, method):
    location = urlsplit(getattr(stale_browser, method)(path).headers["Location"])
    assert (location.path, location.query) == ("/accounts/confirm/", f"next={path}")


def test_stale_authentication_cannot_end_another_sign_in(stale_browser, client_of, ann):
    client = client_of(ann)
    other = SignIn.objects.get(kind="client")
    stale_browser.post(f"/accounts/sign-ins/{other.pk}/end/")
    assert client.get("/api/me/").status_code == 200


def test_stale_authentication_cannot_end_all_others(stale_browser, client_of, ann):
    client = client_of(ann)
    stale_browser.post("/accounts/sign-ins/end-others/")
    assert client.get("/api/me/").status_code == 200


def test_stale_authentication_cannot_connect_a_client(stale_browser, ann):
    stale_browser.post("/accounts/clients/new/", {"name": "thief"})
    assert not SignIn.objects.filter(kind="client").exists()


def test_the_right_password_redirects_back(stale_browser, password):
    response = confirm(stale_browser, password)
    assert (response.status_code, response.headers["Location"]) == (302, "/accounts/email/")


def test_the_right_password_gives_access_to_the_page(stale_browser, password):
    confirm(stale_browser, password)
    assert stale_browser.get("/accounts/email/").status_code == 200


def test_a_confirmation_creates_a_new_session_key(stale_browser, browser, password):
    replay = browser()
    replay.cookies[settings.SESSION_COOKIE_NAME] = stale_browser.cookies[settings.SESSION_COOKIE_NAME].value
    confirm(stale_browser, password)
    assert replay.get("/accounts/profile/").status_code == 302
    assert stale_browser.get("/accounts/profile/").status_code == 200


def test_a_confirmation_counts_for_its_sign_in_only(clock, browser_of, ann, password):
    here, there = browser_of(ann), browser_of(ann)
    clock.shift(STALE)
    confirm(here, password)
    assert there.get("/accounts/email/").status_code == 302


@pytest.mark.parametrize("wrong", ["", "not the right passphrase", "x" * 200_000, "a\x00b"])
def test_a_wrong_password_gives_no_access(stale_browser, wrong):
    assert confirm(stale_browser, wrong).status_code == 200
    assert stale_browser.get("/accounts/email/").status_code == 302


def test_a_confirmation_is_recorded_with_its_method(stale_browser, ann, password):
    confirm(stale_browser, password)
    event = SecurityEvent.objects.get(type="reauthenticated")
    assert (event.user, event.sid, event.details) == (ann, SignIn.objects.get().pk, {"method": "password"})


def test_a_right_old_password_is_recorded_even_if_the_new_one_is_refused(browser_of, ann, password):
    browser_of(ann).post("/accounts/password_change/", {"old_password": password, "new_password1": "short"})
    assert SecurityEvent.objects.filter(type="reauthenticated", user=ann).count() == 1


def test_a_wrong_password_is_recorded_as_a_failed_sign_in(stale_browser, ann):
    confirm(stale_browser, "not the right passphrase")
    assert SecurityEvent.objects.filter(user=ann, type="sign_in_failed").count() == 1


def test_a_wrong_old_password_is_recorded_as_a_failed_sign_in(browser_of, ann):
    form = {"old_password": "not the right one", "new_password1": "a quite different passphrase"}
    browser_of(ann).post("/accounts/password_change/", form)
    assert SecurityEvent.objects.filter(user=ann, type="sign_in_failed").count() == 1


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_the_confirmation_never_redirects_to_another_site(stale_browser, password, target):
    assert confirm(stale_browser, password, target).headers["Location"] == "/"


def test_a_visitor_is_asked_to_sign_in(browser):
    assert urlsplit(browser().get("/accounts/confirm/").headers["Location"]).path == "/accounts/login/"


def test_a_password_change_counts_as_authentication(stale_browser, password):
    new = "a quite different passphrase"
    stale_browser.post("/accounts/password_change/", {"old_password": password, "new_password1": new})
    assert stale_browser.get("/accounts/email/").status_code == 200


def test_the_duration_is_a_setting(clock, browser_of, ann, settings):
    settings.REAUTHENTICATION_TIMEOUT = timedelta(minutes=1)
    browser = browser_of(ann)
    clock.shift(timedelta(minutes=2))
    assert browser.get("/accounts/email/").status_code == 302


def test_the_redirect_to_the_confirmation_takes_one_statement(stale_browser, django_assert_num_queries):
    stale_browser.get("/")
    with django_assert_num_queries(1):
        stale_browser.get("/accounts/email/")


def test_a_new_sign_in_is_recently_authenticated(clock, browser_of, ann):
    browser_of(ann)
    assert SignIn.objects.get().authenticated_at == timezone.now()


def test_a_client_inherits_the_authentication_time(clock, browser_of, ann, anonymous):
    """Connecting a client must not count as a new authentication."""
    browser = browser_of(ann)
    clock.shift(FRESH)
    assert browser.post("/accounts/clients/new/", {"name": "backup"}).status_code == 200
    client = SignIn.objects.get(kind="client")
    assert client.authenticated_at == SignIn.objects.get(kind="browser").authenticated_at
    assert client.is_recently_authenticated()
    clock.shift(STALE - FRESH)
    assert not client.is_recently_authenticated()
