"""Rate limits for password guesses, mails and sign-ups: waits, what counts together, service accounts, events."""

from datetime import timedelta
from itertools import count

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import rate_limits, registration
from accounts.http import request_context
from accounts.models import AttemptCounter, SecurityEvent, User
from tests.accounts.sign_in_endpoints import ADDRESSES, FREE, NEW_PASSWORD, WRONG, SignInEndpoint, exhaust
from tests.conftest import send_mails

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]


# Every endpoint that signs in


def test_different_clocks_of_nodes_delay_no_sign_in(endpoint, staff, bob, password, clock):
    """The clock of another node may be behind, and a guess may have read the clock before it waited for a lock."""
    assert endpoint.accepts("sue", password)
    clock.shift(timedelta(seconds=-10))
    assert endpoint.accepts("sue", password)
    assert endpoint.attempt("bob", WRONG).status_code in (200, 401)


def test_after_too_many_guesses_the_right_password_is_refused(endpoint, staff, password):
    exhaust(endpoint)
    refused = endpoint.attempt("sue", password)
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "1"


def test_below_the_limit_the_right_password_is_accepted(endpoint, staff, password):
    for _ in range(FREE - 1):
        endpoint.attempt("sue", WRONG)
    assert endpoint.accepts("sue", password)


def test_after_the_wait_the_right_password_is_accepted(endpoint, staff, password, clock):
    exhaust(endpoint)
    clock.shift(timedelta(seconds=1))
    assert endpoint.accepts("sue", password)


@pytest.mark.parametrize("closed_at", ["/api/token/", "/accounts/login/", "/admin/login/"])
def test_guesses_at_one_sign_in_form_count_at_all(endpoint, closed_at, browser, anonymous, staff, password):
    exhaust(SignInEndpoint(closed_at, browser, anonymous))
    assert endpoint.attempt("sue", password).status_code == 429


def test_an_unknown_name_is_limited_like_an_account(endpoint, staff):
    exhaust(endpoint, "sue", "198.51.100.7")
    exhaust(endpoint, "nobody", "198.51.100.8")
    known, unknown = endpoint.attempt("sue", WRONG, "198.51.100.7"), endpoint.attempt("nobody", WRONG, "198.51.100.8")
    assert (known.status_code, known.headers["Retry-After"]) == (unknown.status_code, unknown.headers["Retry-After"])
    if endpoint.path.startswith("/api/"):
        assert known.json() == unknown.json()


def test_the_api_answers_throttled(api_endpoint, ann):
    exhaust(api_endpoint, "ann")
    assert api_endpoint.attempt("ann", WRONG).json() == {
        "detail": "Request was throttled. Expected available in 1 second.",
        "code": "throttled",
    }


@pytest.mark.parametrize("path", ["/accounts/login/", "/admin/login/"])
def test_a_page_shows_the_wait_and_keeps_its_form(path, browser, anonymous, staff):
    page = SignInEndpoint(path, browser, anonymous)
    exhaust(page)
    html = page.attempt("sue", WRONG).content.decode()
    assert "Too many attempts. Try again in 1 second." in html
    assert 'name="password"' in html


# Waits


def count_checked_guesses(endpoint, username, addresses, clock, until):
    """Returns how many wrong guesses reach the password check if an attacker uses every wait."""
    checked = 0
    end = timezone.now() + until
    for address in addresses:
        answer = endpoint.attempt(username, WRONG, address)
        if answer.status_code == 401:
            checked += 1
            continue
        clock.shift(timedelta(seconds=int(answer.headers["Retry-After"])))
        if timezone.now() >= end:
            break
    return checked


def test_the_wait_doubles(api_endpoint, ann, clock):
    exhaust(api_endpoint, "ann")
    waits = []
    for _ in range(4):
        waits.append(int(api_endpoint.attempt("ann", WRONG).headers["Retry-After"]))
        clock.shift(timedelta(seconds=waits[-1]))
        api_endpoint.attempt("ann", WRONG)
    assert waits == [1, 2, 4, 8]


def test_a_refused_guess_does_not_extend_the_wait(api_endpoint, ann, password, clock):
    exhaust(api_endpoint, "ann")
    for _ in range(20):
        api_endpoint.attempt("ann", WRONG)
    clock.shift(timedelta(seconds=1))
    assert api_endpoint.accepts("ann", password)


def test_one_address_has_at_most_sixty_guesses_a_day(api_endpoint, ann, clock):
    checked = count_checked_guesses(api_endpoint, "ann", ["198.51.100.7"] * 200, clock, timedelta(days=1))
    assert checked <= 60


def test_all_addresses_have_at_most_a_hundred_guesses_a_day(api_endpoint, ann, clock):
    addresses = (f"2001:db8:{number:x}::1" for number in count(1))
    assert count_checked_guesses(api_endpoint, "ann", addresses, clock, timedelta(days=1)) <= 100


def test_guesses_of_many_strangers_are_limited_per_account(api_endpoint, ann):
    answers = [api_endpoint.attempt("ann", WRONG, address).status_code for address in ADDRESSES[:101]]
    assert answers.count(401) == rate_limits.LIMITS[rate_limits.Kind.ACCOUNT].free_attempts


def test_strangers_delay_the_user_by_at_most_15_minutes(api_endpoint, ann, password, clock):
    for address in ADDRESSES[:101]:
        api_endpoint.attempt("ann", WRONG, address)
    clock.shift(timedelta(minutes=15))
    assert api_endpoint.accepts("ann", password, "203.0.113.9")


# What is counted together


def test_names_in_another_case_count_as_the_same_account(api_endpoint, ann):
    for name in ["ann", "Ann", "ANN", "aNN", "anN"]:
        api_endpoint.attempt(name, WRONG)
    assert api_endpoint.attempt("ann", WRONG).status_code == 429


def test_another_address_has_its_own_count(api_endpoint, ann, password):
    exhaust(api_endpoint, "ann")
    assert api_endpoint.accepts("ann", password, "203.0.113.9")


def test_another_account_at_the_same_address_has_its_own_count(api_endpoint, ann, bob, password):
    exhaust(api_endpoint, "ann")
    assert api_endpoint.accepts("bob", password)


def test_all_addresses_of_an_ipv6_network_share_a_count(api_endpoint, ann):
    for number in range(FREE):
        api_endpoint.attempt("ann", WRONG, f"2001:db8:0:7::{number:x}")
    assert api_endpoint.attempt("ann", WRONG, "2001:db8:0:7:ffff::1").status_code == 429
    assert api_endpoint.attempt("ann", WRONG, "2001:db8:0:8::1").status_code == 401


def test_an_address_that_tries_many_names_is_limited(api_endpoint, ann, password):
    for number in range(rate_limits.LIMITS[rate_limits.Kind.ADDRESS].free_attempts):
        api_endpoint.attempt(f"name{number}", WRONG)
    assert api_endpoint.attempt("ann", password).status_code == 429
    assert api_endpoint.accepts("ann", password, "203.0.113.9")


def test_a_success_does_not_reset_the_count_of_the_address(api_endpoint, ann, bob, password):
    for number in range(rate_limits.LIMITS[rate_limits.Kind.ADDRESS].free_attempts):
        api_endpoint.attempt(f"name{number}", WRONG)
        if number < rate_limits.LIMITS[rate_limits.Kind.ADDRESS].free_attempts - 1:
            assert api_endpoint.accepts("bob", password)
    assert api_endpoint.attempt("ann", WRONG).status_code == 429


def test_successful_sign_ins_do_not_limit_their_address(api_endpoint, ann, password):
    for _ in range(rate_limits.LIMITS[rate_limits.Kind.ADDRESS].free_attempts + 5):
        assert api_endpoint.accepts("ann", password)


def test_a_success_resets_the_count_of_its_account(api_endpoint, ann, password):
    for _ in range(3):
        for _ in range(FREE - 1):
            api_endpoint.attempt("ann", WRONG)
        assert api_endpoint.accepts("ann", password)


def test_a_forwarded_address_from_a_client_is_ignored(api_endpoint, ann):
    for address in ADDRESSES[:FREE]:
        api_endpoint.attempt("ann", WRONG, headers={"X-Forwarded-For": address})
    assert api_endpoint.attempt("ann", WRONG, headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 429


def test_a_forwarded_address_from_a_trusted_proxy_is_used(api_endpoint, ann, settings):
    settings.TRUSTED_PROXIES = ["198.51.100.7"]
    for address in ADDRESSES[: FREE + 1]:
        assert api_endpoint.attempt("ann", WRONG, headers={"X-Forwarded-For": address}).status_code == 401


def test_a_flushed_cache_resets_no_count(api_endpoint, ann):
    exhaust(api_endpoint, "ann")
    cache.clear()
    assert api_endpoint.attempt("ann", WRONG).status_code == 429


def test_clients_without_an_address_share_no_small_limit(api_endpoint, ann, bob, password):
    for number in range(rate_limits.LIMITS[rate_limits.Kind.ADDRESS].free_attempts + 1):
        api_endpoint.attempt(f"name{number}", WRONG, "")
    assert api_endpoint.accepts("bob", password, "")


# Service accounts


@pytest.fixture
def service_credentials():
    """The username and the password of a service account."""
    made, secret = registration.create_service("gate", [])
    return made.username, secret


def test_strangers_cannot_lock_out_a_service_account(api_endpoint, service_credentials):
    name, secret = service_credentials
    for address in ADDRESSES[: rate_limits.LIMITS[rate_limits.Kind.ACCOUNT].max_attempts + 10]:
        api_endpoint.attempt(name, WRONG, address)
    assert AttemptCounter.objects.locked_out().filter(kind=rate_limits.Kind.ACCOUNT).exists()
    assert api_endpoint.accepts(name, secret, "203.0.113.9")


def test_a_limited_service_account_answers_like_any_name(api_endpoint, service_credentials, ann):
    name, _secret = service_credentials
    answers = {}
    for each in (name, "ann", "nobody"):
        for address in ADDRESSES[: rate_limits.LIMITS[rate_limits.Kind.ACCOUNT].free_attempts + 1]:
            last = api_endpoint.attempt(each, WRONG, address)
        answers[each] = (last.status_code, last.headers["Retry-After"], last.content)
    assert answers[name] == answers["ann"] == answers["nobody"]
    assert answers[name][0] == 429


def test_one_address_is_limited_at_service_accounts(api_endpoint, service_credentials):
    name, secret = service_credentials
    exhaust(api_endpoint, name)
    assert api_endpoint.attempt(name, secret).status_code == 429
    assert api_endpoint.accepts(name, secret, "203.0.113.9")


# Changes of the password


def test_guesses_at_the_old_password_are_counted_on_the_page(browser_of, ann):
    browser = browser_of(ann)
    form = {"old_password": WRONG, "new_password1": NEW_PASSWORD}
    answers = [browser.post("/accounts/password_change/", form) for _ in range(FREE + 1)]
    assert [answer.status_code for answer in answers] == [200] * FREE + [429]
    assert "Too many attempts" in answers[-1].content.decode()
    assert "Retry-After" in answers[-1].headers


def test_guesses_at_the_old_password_are_counted_over_the_api(client_of, ann, password):
    client = client_of(ann)
    change = {"old_password": WRONG, "new_password": NEW_PASSWORD}
    answers = [client.post("/api/password/change/", change).status_code for _ in range(FREE)]
    assert answers == [400] * FREE
    refused = client.post("/api/password/change/", change | {"old_password": password})
    assert (refused.status_code, refused.json()["code"]) == (429, "throttled")
    assert "Retry-After" in refused.headers


def test_strangers_cannot_prevent_a_password_change(client_of, api_endpoint, ann, password):
    client = client_of(ann)
    for address in ADDRESSES[:60]:
        api_endpoint.attempt("ann", WRONG, address)
    change = {"old_password": password, "new_password": NEW_PASSWORD}
    assert client.post("/api/password/change/", change).status_code == 204


# Mails and sign-ups


def test_reset_mails_are_limited_with_the_same_answer(
    anonymous, ann, mailoutbox, clock, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        answers = [anonymous.post("/api/password/reset/", {"email": ann.email}) for _ in range(6)]
    send_mails()
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, b"{}")}
    assert len(mailoutbox) == 3
    clock.shift(timedelta(hours=1))
    with django_capture_on_commit_callbacks(execute=True):
        anonymous.post("/api/password/reset/", {"email": ann.email.upper()})
    send_mails()
    assert len(mailoutbox) == 4


def test_one_address_cannot_request_resets_for_all_users(anonymous, db, mailoutbox, django_capture_on_commit_callbacks):
    people = [User.objects.create_user(f"u{number}", f"u{number}@example.org", WRONG) for number in range(33)]
    with django_capture_on_commit_callbacks(execute=True):
        answers = [anonymous.post("/api/password/reset/", {"email": person.email}).status_code for person in people]
    send_mails()
    assert set(answers) == {202}
    assert len(mailoutbox) == rate_limits.LIMITS[rate_limits.Kind.RESETTING].max_attempts


def test_one_address_has_a_limit_of_sign_ups(browser, db):
    form = {"password1": NEW_PASSWORD}
    most = rate_limits.LIMITS[rate_limits.Kind.SIGN_UP].max_attempts
    answers = [
        browser().post("/accounts/signup/", form | {"username": f"u{number}", "email": f"u{number}@example.org"})
        for number in range(most + 1)
    ]
    assert [answer.status_code for answer in answers] == [302] * most + [429]
    assert User.objects.count() == most


# Stored rows and events


def test_the_table_contains_no_name(api_endpoint, ann):
    api_endpoint.attempt("a password typed into the wrong field", WRONG)
    exhaust(api_endpoint, "ann")
    for row in AttemptCounter.objects.values():
        assert "typed" not in str(row)
        assert "ann" not in str(row)


def test_reaching_the_limit_is_an_event_of_the_account(api_endpoint, ann):
    exhaust(api_endpoint, "ann")
    event = SecurityEvent.objects.get(type="locked")
    assert (event.user, event.details["kind"], event.ip_address) == (ann, "pair", "198.51.100.7")


def test_a_refused_guess_is_no_event(api_endpoint, ann):
    exhaust(api_endpoint, "ann")
    before = SecurityEvent.objects.count()
    api_endpoint.attempt("ann", WRONG)
    assert SecurityEvent.objects.count() == before


def test_resetting_attempt_counters_is_an_event_with_its_actor(api_endpoint, ann, staff, password, rf):
    exhaust(api_endpoint, "ann")
    exhaust(api_endpoint, "nobody")
    request = rf.post("/admin/")
    request.user = staff
    with request_context.use_request(request):
        assert AttemptCounter.objects.of(ann).lift() == 1
    event = SecurityEvent.objects.get(type="unlocked")
    assert (event.user, event.actor) == (ann, staff)
    assert api_endpoint.accepts("ann", password)
    assert AttemptCounter.objects.locked_out().count() == 1


# Numbers of statements


def statements(endpoint, *args):
    with CaptureQueriesContext(
        connection,
    ) as context:
        endpoint.attempt(*args)
    return [query["sql"] for query in context if "SAVEPOINT" not in query["sql"]]


def test_a_sign_in_takes_eight_statements(api_endpoint, ann, password):
    # One for the user, two to count, one to take it back, and four of SignInManager.start().
    assert len(statements(api_endpoint, "ann", password)) == 8


def test_a_refused_guess_takes_two_statements(api_endpoint, ann, password):
    exhaust(api_endpoint, "ann")
    assert len(statements(api_endpoint, "ann", password)) == 2


def test_a_wrong_guess_takes_equal_statements_for_unknown_names(api_endpoint, ann):
    assert len(statements(api_endpoint, "nobody", WRONG)) == len(statements(api_endpoint, "ann", WRONG))
