"""Guessing: it slows down, then stops, at every door; and nobody locks anybody else out of where they are known."""

from datetime import timedelta
from itertools import count
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import mail, passwords, rate_limits, registration
from accounts.http import request_context
from accounts.models import AttemptCounter, SecurityEvent, User

pytestmark = pytest.mark.django_db

WRONG = "not the right passphrase at all"
NEW_PASSWORD = "a quite different passphrase"
FREE = rate_limits.LIMITS[rate_limits.Kind.PAIR].free_attempts
ADDRESSES = [f"192.0.2.{number}" for number in range(1, 255)]


@pytest.fixture(autouse=True)
def clock():
    """A clock that stands still until a test moves it."""
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False) as traveller:
        yield traveller


class Door:
    """One way to sign in, as strangers come to it: every try from a new browser."""

    def __init__(self, path: str, browser: type, api: Any) -> None:
        self.path, self.browser, self.api = path, browser, api

    def knock(self, username: str, password: str, address: str = "198.51.100.7", **extra: Any) -> Any:
        credentials = {"username": username, "password": password}
        if self.path.startswith("/api/"):
            return self.api.post(self.path, credentials, REMOTE_ADDR=address, **extra)
        return self.browser().post(self.path, credentials, REMOTE_ADDR=address, **extra)

    def opens(self, *args: Any, **kwargs: Any) -> bool:
        return self.knock(*args, **kwargs).status_code == (200 if self.path.startswith("/api/") else 302)


@pytest.fixture(params=["/api/token/", "/accounts/login/", "/admin/login/"])
def door(request, browser, anonymous):
    return Door(request.param, browser, anonymous)


@pytest.fixture
def api_door(browser, anonymous):
    return Door("/api/token/", browser, anonymous)


def exhaust(door, username="sue", address="198.51.100.7"):
    for _ in range(FREE):
        door.knock(username, WRONG, address)


# At every door


def test_clocks_that_differ_keep_nobody_waiting(door, staff, bob, password, clock):
    """On the next node it is earlier; and a guess that waited for another's turn has looked at the clock before."""
    assert door.opens("sue", password)
    clock.shift(timedelta(seconds=-10))
    assert door.opens("sue", password)
    assert door.knock("bob", WRONG).status_code in (200, 401)


def test_after_a_few_wrong_guesses_the_right_one_is_refused_too(door, staff, password):
    exhaust(door)
    refused = door.knock("sue", password)
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "1"


def test_one_guess_less_and_the_right_one_is_let_in(door, staff, password):
    for _ in range(FREE - 1):
        door.knock("sue", WRONG)
    assert door.opens("sue", password)


def test_after_the_wait_the_right_one_is_let_in(door, staff, password, clock):
    exhaust(door)
    clock.shift(timedelta(seconds=1))
    assert door.opens("sue", password)


@pytest.mark.parametrize("closed_at", ["/api/token/", "/accounts/login/", "/admin/login/"])
def test_what_is_locked_at_one_door_is_locked_at_all(door, closed_at, browser, anonymous, staff, password):
    exhaust(Door(closed_at, browser, anonymous))
    assert door.knock("sue", password).status_code == 429


def test_a_locked_unknown_name_looks_like_a_locked_account(door, staff):
    exhaust(door, "sue", "198.51.100.7")
    exhaust(door, "nobody", "198.51.100.8")
    known, unknown = door.knock("sue", WRONG, "198.51.100.7"), door.knock("nobody", WRONG, "198.51.100.8")
    assert (known.status_code, known.headers["Retry-After"]) == (unknown.status_code, unknown.headers["Retry-After"])
    if door.path.startswith("/api/"):
        assert known.json() == unknown.json()


def test_the_api_says_throttled(api_door, ann):
    exhaust(api_door, "ann")
    assert api_door.knock("ann", WRONG).json() == {
        "detail": "Request was throttled. Expected available in 1 second.",
        "code": "throttled",
    }


@pytest.mark.parametrize("path", ["/accounts/login/", "/admin/login/"])
def test_a_page_says_it_in_words_and_keeps_its_form(path, browser, anonymous, staff):
    page = Door(path, browser, anonymous)
    exhaust(page)
    html = page.knock("sue", WRONG).content.decode()
    assert "Too many tries. Try again in 1 second." in html
    assert 'name="password"' in html


# How it grows


def guesses_heard(door, username, addresses, clock, until):
    """How many wrong guesses reach the password check when somebody never rests."""
    heard = 0
    end = timezone.now() + until
    for address in addresses:
        answer = door.knock(username, WRONG, address)
        if answer.status_code == 401:
            heard += 1
            continue
        clock.shift(timedelta(seconds=int(answer.headers["Retry-After"])))
        if timezone.now() >= end:
            break
    return heard


def test_the_wait_doubles(api_door, ann, clock):
    exhaust(api_door, "ann")
    waits = []
    for _ in range(4):
        waits.append(int(api_door.knock("ann", WRONG).headers["Retry-After"]))
        clock.shift(timedelta(seconds=waits[-1]))
        api_door.knock("ann", WRONG)
    assert waits == [1, 2, 4, 8]


def test_a_refused_guess_makes_nobody_wait_longer(api_door, ann, password, clock):
    exhaust(api_door, "ann")
    for _ in range(20):
        api_door.knock("ann", WRONG)
    clock.shift(timedelta(seconds=1))
    assert api_door.opens("ann", password)


def test_from_one_address_sixty_guesses_a_day_are_heard_at_most(api_door, ann, clock):
    heard = guesses_heard(api_door, "ann", ["198.51.100.7"] * 200, clock, timedelta(days=1))
    assert heard <= 60


def test_from_everywhere_a_hundred_in_a_row_are_never_heard_in_a_day(api_door, ann, clock):
    addresses = (f"2001:db8:{number:x}::1" for number in count(1))
    assert guesses_heard(api_door, "ann", addresses, clock, timedelta(days=1)) <= 100


def test_a_hundred_and_one_strangers_at_once_are_not_all_heard(api_door, ann):
    answers = [api_door.knock("ann", WRONG, address).status_code for address in ADDRESSES[:101]]
    assert answers.count(401) == rate_limits.LIMITS[rate_limits.Kind.ACCOUNT].free_attempts


def test_an_owner_whom_strangers_locked_out_gets_in_within_a_quarter_of_an_hour(api_door, ann, password, clock):
    for address in ADDRESSES[:101]:
        api_door.knock("ann", WRONG, address)
    clock.shift(timedelta(minutes=15))
    assert api_door.opens("ann", password, "203.0.113.9")


# What counts together


def test_letters_of_another_case_are_the_same_account(api_door, ann):
    for name in ["ann", "Ann", "ANN", "aNN", "anN"]:
        api_door.knock(name, WRONG)
    assert api_door.knock("ann", WRONG).status_code == 429


def test_another_address_has_guesses_of_its_own(api_door, ann, password):
    exhaust(api_door, "ann")
    assert api_door.opens("ann", password, "203.0.113.9")


def test_another_account_at_the_same_address_has_guesses_of_its_own(api_door, ann, bob, password):
    exhaust(api_door, "ann")
    assert api_door.opens("bob", password)


def test_all_addresses_of_an_ipv6_network_are_one(api_door, ann):
    for number in range(FREE):
        api_door.knock("ann", WRONG, f"2001:db8:0:7::{number:x}")
    assert api_door.knock("ann", WRONG, "2001:db8:0:7:ffff::1").status_code == 429
    assert api_door.knock("ann", WRONG, "2001:db8:0:8::1").status_code == 401


def test_an_address_that_tries_many_names_is_locked(api_door, ann, password):
    for number in range(rate_limits.LIMITS[rate_limits.Kind.ADDRESS].free_attempts):
        api_door.knock(f"name{number}", WRONG)
    assert api_door.knock("ann", password).status_code == 429
    assert api_door.opens("ann", password, "203.0.113.9")


def test_ones_own_success_does_not_renew_the_guesses_of_the_address(api_door, ann, bob, password):
    for number in range(rate_limits.LIMITS[rate_limits.Kind.ADDRESS].free_attempts):
        api_door.knock(f"name{number}", WRONG)
        if number < rate_limits.LIMITS[rate_limits.Kind.ADDRESS].free_attempts - 1:
            assert api_door.opens("bob", password)
    assert api_door.knock("ann", WRONG).status_code == 429


def test_an_office_that_signs_in_all_day_is_not_locked(api_door, ann, password):
    for _ in range(rate_limits.LIMITS[rate_limits.Kind.ADDRESS].free_attempts + 5):
        assert api_door.opens("ann", password)


def test_a_success_renews_the_guesses_of_its_account(api_door, ann, password):
    for _ in range(3):
        for _ in range(FREE - 1):
            api_door.knock("ann", WRONG)
        assert api_door.opens("ann", password)


def test_what_a_client_says_of_its_own_address_counts_for_nothing(api_door, ann):
    for address in ADDRESSES[:FREE]:
        api_door.knock("ann", WRONG, headers={"X-Forwarded-For": address})
    assert api_door.knock("ann", WRONG, headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 429


def test_what_a_trusted_proxy_says_of_an_address_counts(api_door, ann, settings):
    settings.TRUSTED_PROXIES = ["198.51.100.7"]
    for address in ADDRESSES[: FREE + 1]:
        assert api_door.knock("ann", WRONG, headers={"X-Forwarded-For": address}).status_code == 401


def test_a_flushed_cache_renews_nobodys_guesses(api_door, ann):
    exhaust(api_door, "ann")
    cache.clear()
    assert api_door.knock("ann", WRONG).status_code == 429


def test_without_an_address_nobody_locks_out_everybody(api_door, ann, bob, password):
    for number in range(rate_limits.LIMITS[rate_limits.Kind.ADDRESS].free_attempts + 1):
        api_door.knock(f"name{number}", WRONG, "")
    assert api_door.opens("bob", password, "")


# Where somebody is known


def known_cookie(browser):
    return next(cookie for name, cookie in browser.cookies.items() if name.startswith(settings.DEVICE_COOKIE_NAME))


def sign_in_again(browser, user, password):
    return browser.post("/accounts/login/", {"username": user.username, "password": password}).status_code


@pytest.fixture
def anns_browser(browser_of, ann):
    """Where ann signed in once, and out again."""
    browser = browser_of(ann)
    browser.post("/accounts/logout/")
    return browser


def test_strangers_do_not_lock_a_person_out_of_a_browser_where_they_are_known(api_door, anns_browser, ann, password):
    for address in [*ADDRESSES[:60], *["127.0.0.1"] * 150]:
        api_door.knock("ann", WRONG, address)
    assert api_door.knock("ann", password).status_code == 429
    assert sign_in_again(anns_browser, ann, password) == 302


def test_a_known_browser_has_a_few_guesses_and_no_more(anns_browser, ann, password):
    for _ in range(FREE):
        assert sign_in_again(anns_browser, ann, WRONG) == 200
    assert sign_in_again(anns_browser, ann, password) == 429


def test_a_known_browser_locks_out_nobody_else(anns_browser, api_door, ann, password):
    for _ in range(FREE + 1):
        sign_in_again(anns_browser, ann, WRONG)
    assert api_door.opens("ann", password, "127.0.0.1")


def test_a_browser_known_to_one_is_a_stranger_to_another(anns_browser, bob, password):
    for _ in range(FREE):
        sign_in_again(anns_browser, bob, WRONG)
    assert sign_in_again(anns_browser, bob, password) == 429
    assert AttemptCounter.objects.filter(kind=rate_limits.Kind.PAIR).exists()


def test_the_cookie_is_for_this_host_and_no_script(anns_browser):
    cookie = known_cookie(anns_browser)
    assert cookie.key.startswith("__Host-")
    assert (cookie["secure"], cookie["httponly"], cookie["path"], cookie["domain"]) == (True, True, "/", "")
    assert cookie["samesite"] == "Lax"


def test_the_cookie_signs_nobody_in(anns_browser, browser):
    stranger = browser()
    cookie = known_cookie(anns_browser)
    stranger.cookies[cookie.key] = cookie.value
    assert stranger.get("/accounts/profile/").status_code == 302


def test_a_browser_that_many_use_is_known_to_the_last_ten(browser, password, ann):
    """A kiosk, or a click on the demo button, again and again: the cookies fit into a request for ever."""
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


def test_what_is_no_cookie_of_ours_gives_way_first(browser, password, ann, clock):
    kiosk = browser()
    name = f"{settings.DEVICE_COOKIE_NAME}-0123456789ab"
    for number, value in enumerate(["", "a", "a:b:c", "a:\u00fc:c", "::", "a:zzzzzzzzzzzzzzz:c"] * 3):
        kiosk.cookies[f"{name}{number}"] = value
    assert sign_in_again(kiosk, ann, password) == 302
    left = [each for each, cookie in kiosk.cookies.items() if each.startswith(name) and cookie.value]
    assert len(left) < 10


@pytest.mark.parametrize("change", ["of another password", "forged", "empty", "of another person"])
def test_a_cookie_that_is_not_ones_own_helps_nobody(change, anns_browser, browser_of, api_door, ann, bob, password):
    cookie = known_cookie(anns_browser)
    if change == "of another password":
        passwords.change(User.objects.get(pk=ann.pk), NEW_PASSWORD)
        password = NEW_PASSWORD
    else:
        values = {"forged": "a:b:c", "empty": "", "of another person": known_cookie(browser_of(bob)).value}
        anns_browser.cookies[cookie.key] = values[change]
    exhaust(api_door, "ann", "127.0.0.1")
    assert sign_in_again(anns_browser, ann, password) == 429


def test_the_browser_in_which_the_password_was_changed_stays_known(browser_of, api_door, ann, password):
    browser = browser_of(ann)
    browser.post(
        "/accounts/password_change/",
        {"old_password": password, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD},
    )
    browser.post("/accounts/logout/")
    exhaust(api_door, "ann", "127.0.0.1")
    assert sign_in_again(browser, ann, NEW_PASSWORD) == 302


def test_a_reset_lets_an_owner_in_whom_strangers_have_locked_out(api_door, ann):
    for address in ADDRESSES[:60]:
        api_door.knock("ann", WRONG, address)
    passwords.reset(User.objects.get(pk=ann.pk), NEW_PASSWORD)
    assert api_door.opens("ann", NEW_PASSWORD)


# Services


@pytest.fixture
def service():
    """Its name, and its password."""
    made, secret = registration.create_service("gate", [])
    return made.username, secret


def test_strangers_lock_no_service_out(api_door, service):
    name, secret = service
    for address in ADDRESSES[: rate_limits.LIMITS[rate_limits.Kind.ACCOUNT].max_attempts + 10]:
        api_door.knock(name, WRONG, address)
    assert AttemptCounter.objects.locked_out().filter(kind=rate_limits.Kind.ACCOUNT).exists()
    assert api_door.opens(name, secret, "203.0.113.9")


def test_a_locked_service_answers_a_wrong_password_like_any_other_name(api_door, service, ann):
    name, _secret = service
    answers = {}
    for each in (name, "ann", "nobody"):
        for address in ADDRESSES[: rate_limits.LIMITS[rate_limits.Kind.ACCOUNT].free_attempts + 1]:
            last = api_door.knock(each, WRONG, address)
        answers[each] = (last.status_code, last.headers["Retry-After"], last.content)
    assert answers[name] == answers["ann"] == answers["nobody"]
    assert answers[name][0] == 429


def test_one_address_has_no_more_guesses_at_a_service_than_at_others(api_door, service):
    name, secret = service
    exhaust(api_door, name)
    assert api_door.knock(name, secret).status_code == 429
    assert api_door.opens(name, secret, "203.0.113.9")


# The old password


def test_guesses_at_the_old_password_are_counted_on_the_page(browser_of, ann):
    browser = browser_of(ann)
    form = {"old_password": WRONG, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    answers = [browser.post("/accounts/password_change/", form) for _ in range(FREE + 1)]
    assert [answer.status_code for answer in answers] == [200] * FREE + [429]
    assert "Too many tries" in answers[-1].content.decode()
    assert "Retry-After" in answers[-1].headers


def test_guesses_at_the_old_password_are_counted_over_the_api(client_of, ann, password):
    client = client_of(ann)
    change = {"old_password": WRONG, "new_password": NEW_PASSWORD}
    answers = [client.post("/api/password/change/", change).status_code for _ in range(FREE)]
    assert answers == [400] * FREE
    refused = client.post("/api/password/change/", change | {"old_password": password})
    assert (refused.status_code, refused.json()["code"]) == (429, "throttled")
    assert "Retry-After" in refused.headers


def test_strangers_do_not_keep_an_owner_from_a_new_password(client_of, api_door, ann, password):
    client = client_of(ann)
    for address in ADDRESSES[:60]:
        api_door.knock("ann", WRONG, address)
    change = {"old_password": password, "new_password": NEW_PASSWORD}
    assert client.post("/api/password/change/", change).status_code == 204


# Mails and accounts


def test_a_few_reset_mails_an_hour_and_the_answer_stays_the_same(
    anonymous, ann, mailoutbox, clock, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        answers = [anonymous.post("/api/password/reset/", {"email": ann.email}) for _ in range(6)]
    mail.wait()
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, b"{}")}
    assert len(mailoutbox) == 3
    clock.shift(timedelta(hours=1))
    with django_capture_on_commit_callbacks(execute=True):
        anonymous.post("/api/password/reset/", {"email": ann.email.upper()})
    mail.wait()
    assert len(mailoutbox) == 4


def test_nobody_has_mails_sent_to_everybody(anonymous, db, mailoutbox, django_capture_on_commit_callbacks):
    people = [User.objects.create_user(f"u{number}", f"u{number}@example.org", WRONG) for number in range(33)]
    with django_capture_on_commit_callbacks(execute=True):
        answers = [anonymous.post("/api/password/reset/", {"email": person.email}).status_code for person in people]
    mail.wait()
    assert set(answers) == {202}
    assert len(mailoutbox) == rate_limits.LIMITS[rate_limits.Kind.RESETTING].max_attempts


def test_nobody_makes_accounts_by_the_hundred(browser, db):
    form = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    most = rate_limits.LIMITS[rate_limits.Kind.SIGN_UP].max_attempts
    answers = [
        browser().post("/accounts/signup/", form | {"username": f"u{number}", "email": f"u{number}@example.org"})
        for number in range(most + 1)
    ]
    assert [answer.status_code for answer in answers] == [302] * most + [429]
    assert User.objects.count() == most


# What is written down


def test_the_table_holds_no_name(api_door, ann):
    api_door.knock("a password typed into the wrong field", WRONG)
    exhaust(api_door, "ann")
    for row in AttemptCounter.objects.values():
        assert "typed" not in str(row)
        assert "ann" not in str(row)


def test_a_lock_is_an_event_of_its_account(api_door, ann):
    exhaust(api_door, "ann")
    event = SecurityEvent.objects.get(type="locked")
    assert (event.user, event.details["kind"], event.ip_address) == (ann, "pair", "198.51.100.7")


def test_a_refused_guess_is_no_event(api_door, ann):
    exhaust(api_door, "ann")
    before = SecurityEvent.objects.count()
    api_door.knock("ann", WRONG)
    assert SecurityEvent.objects.count() == before


def test_lifting_the_locks_of_somebody_is_an_event_with_its_actor(api_door, ann, staff, password, rf):
    exhaust(api_door, "ann")
    exhaust(api_door, "nobody")
    request = rf.post("/admin/")
    request.user = staff
    with request_context.use_request(request):
        assert AttemptCounter.objects.of(ann).lift() == 1
    event = SecurityEvent.objects.get(type="unlocked")
    assert (event.user, event.actor) == (ann, staff)
    assert api_door.opens("ann", password)
    assert AttemptCounter.objects.locked_out().count() == 1


# What it costs


def statements(door, *args):
    with CaptureQueriesContext(
        connection,
    ) as context:
        door.knock(*args)
    return [query["sql"] for query in context if "SAVEPOINT" not in query["sql"]]


def test_a_good_sign_in_takes_four_statements_besides_the_four_of_its_start(api_door, ann, password):
    # Find the user; count, in two; take it back; and SignInManager.start()'s four.
    assert len(statements(api_door, "ann", password)) == 8


def test_a_refused_guess_takes_two_statements(api_door, ann, password):
    exhaust(api_door, "ann")
    assert len(statements(api_door, "ann", password)) == 2


def test_a_wrong_guess_takes_as_many_statements_for_nobody_as_for_somebody(api_door, ann):
    assert len(statements(api_door, "nobody", WRONG)) == len(statements(api_door, "ann", WRONG))
