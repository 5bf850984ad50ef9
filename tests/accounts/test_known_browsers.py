"""Rate limits for guesses from known browsers, and the cookies of known browsers."""

import pytest
from django.conf import settings

from accounts import passwords, rate_limits
from accounts.models import AttemptCounter, User
from tests.accounts.sign_in_endpoints import ADDRESSES, FREE, NEW_PASSWORD, WRONG, exhaust

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]


def known_cookie(browser):
    return next(cookie for name, cookie in browser.cookies.items() if name.startswith(settings.DEVICE_COOKIE_NAME))


def sign_in_again(browser, user, password):
    return browser.post("/accounts/login/", {"username": user.username, "password": password}).status_code


@pytest.fixture
def anns_browser(browser_of, ann):
    """A browser in which Ann signed in and out."""
    browser = browser_of(ann)
    browser.post("/accounts/logout/")
    return browser


def test_strangers_cannot_lock_out_a_known_browser(api_endpoint, anns_browser, ann, password):
    for address in [*ADDRESSES[:60], *["127.0.0.1"] * 150]:
        api_endpoint.attempt("ann", WRONG, address)
    assert api_endpoint.attempt("ann", password).status_code == 429
    assert sign_in_again(anns_browser, ann, password) == 302


def test_guesses_from_a_known_browser_are_limited(anns_browser, ann, password):
    for _ in range(FREE):
        assert sign_in_again(anns_browser, ann, WRONG) == 200
    assert sign_in_again(anns_browser, ann, password) == 429


def test_a_known_browser_locks_out_no_other_client(anns_browser, api_endpoint, ann, password):
    for _ in range(FREE + 1):
        sign_in_again(anns_browser, ann, WRONG)
    assert api_endpoint.accepts("ann", password, "127.0.0.1")


def test_a_browser_known_to_one_user_is_unknown_to_another(anns_browser, bob, password):
    for _ in range(FREE):
        sign_in_again(anns_browser, bob, WRONG)
    assert sign_in_again(anns_browser, bob, password) == 429
    assert AttemptCounter.objects.filter(kind=rate_limits.Kind.PAIR).exists()


def test_the_cookie_is_host_only_and_http_only(anns_browser):
    cookie = known_cookie(anns_browser)
    assert cookie.key.startswith("__Host-")
    assert (cookie["secure"], cookie["httponly"], cookie["path"], cookie["domain"]) == (True, True, "/", "")
    assert cookie["samesite"] == "Lax"


def test_the_known_browser_cookie_does_not_sign_in(anns_browser, browser):
    stranger = browser()
    cookie = known_cookie(anns_browser)
    stranger.cookies[cookie.key] = cookie.value
    assert stranger.get("/accounts/profile/").status_code == 302


def test_a_shared_browser_keeps_its_last_ten_users(browser, password, ann):
    """For example a kiosk, or the button of the demo: the cookies never exceed the size of a request."""
    kiosk = browser()
    people = [User.objects.create_user(f"u{number}", f"u{number}@example.org", password) for number in range(40)]
    for person in [ann, *people]:
        assert sign_in_again(kiosk, person, password) == 302
        kiosk.post("/accounts/logout/")
    kept = [f"{name}={cookie.value}" for name, cookie in kiosk.cookies.items() if cookie.value]
    assert len([each for each in kept if each.startswith(settings.DEVICE_COOKIE_NAME)]) == 10
    assert len("; ".join(kept)) < 4000
    for _ in range(FREE):
        sign_in_again(browser(), people[-1], WRONG)
    assert sign_in_again(kiosk, people[-1], password) == 302


def test_invalid_cookies_are_removed_first(browser, password, ann, clock):
    kiosk = browser()
    name = f"{settings.DEVICE_COOKIE_NAME}-0123456789ab"
    for number, value in enumerate(["", "a", "a:b:c", "a:\u00fc:c", "::", "a:zzzzzzzzzzzzzzz:c"] * 3):
        kiosk.cookies[f"{name}{number}"] = value
    assert sign_in_again(kiosk, ann, password) == 302
    left = [each for each, cookie in kiosk.cookies.items() if each.startswith(name) and cookie.value]
    assert len(left) < 10


@pytest.mark.parametrize("change", ["of another password", "forged", "empty", "of another person"])
def test_an_invalid_cookie_or_one_of_another_user_is_ignored(
    change, anns_browser, browser_of, api_endpoint, ann, bob, password
):
    cookie = known_cookie(anns_browser)
    if change == "of another password":
        passwords.change(User.objects.get(pk=ann.pk), NEW_PASSWORD)
        password = NEW_PASSWORD
    else:
        values = {"forged": "a:b:c", "empty": "", "of another person": known_cookie(browser_of(bob)).value}
        anns_browser.cookies[cookie.key] = values[change]
    exhaust(api_endpoint, "ann", "127.0.0.1")
    assert sign_in_again(anns_browser, ann, password) == 429


def test_a_password_change_keeps_its_browser_known(browser_of, api_endpoint, ann, password):
    browser = browser_of(ann)
    browser.post(
        "/accounts/password_change/",
        {"old_password": password, "new_password1": NEW_PASSWORD},
    )
    browser.post("/accounts/logout/")
    exhaust(api_endpoint, "ann", "127.0.0.1")
    assert sign_in_again(browser, ann, NEW_PASSWORD) == 302


def test_a_reset_lets_a_locked_out_user_sign_in(api_endpoint, ann):
    for address in ADDRESSES[:60]:
        api_endpoint.attempt("ann", WRONG, address)
    passwords.reset(User.objects.get(pk=ann.pk), NEW_PASSWORD)
    assert api_endpoint.accepts("ann", NEW_PASSWORD)
