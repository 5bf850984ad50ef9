"""Limits of requests that reveal whether a username or an address is taken, over pages and API together."""

import pytest

from accounts import rate_limits
from accounts.models import AttemptCounter, SecurityEvent, User

pytestmark = pytest.mark.django_db

NEW_PASSWORD = "a quite different passphrase"
MOST = rate_limits.LIMITS[rate_limits.Kind.SIGN_UP].max_attempts


@pytest.fixture(autouse=True)
def _still(clock, settings):
    # Disables the throttles of the API, which count requests of any kind.
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"DEFAULT_THROTTLE_RATES": {"accounts": None, "tokens": None}}


def sign_up(browser, username, email):
    form = {"username": username, "email": email, "password1": NEW_PASSWORD}
    return browser().post("/accounts/signup/", form)


def register(anonymous, username, email):
    return anonymous.post("/api/register/", {"username": username, "email": email, "password": NEW_PASSWORD})


def test_taken_names_are_shown_sixty_times_an_hour(ann, browser, anonymous):
    for number in range(MOST // 2):
        page = sign_up(browser, "ANN", f"other{number}@example.org")
        assert (page.status_code, "already exists" in page.content.decode()) == (200, True)
        assert register(anonymous, f"other{number}", "Ann@example.org").status_code == 400
    for answer in (
        sign_up(browser, "ann", "other@example.org"),
        sign_up(browser, "carol", "carol@example.org"),
        register(anonymous, "ann", "other@example.org"),
        register(anonymous, "carol", "carol@example.org"),
    ):
        assert answer.status_code == 429
        assert int(answer["Retry-After"]) > 60
        assert "already exists" not in answer.content.decode()
    assert User.objects.count() == 1


def test_a_refused_attempt_neither_looks_up_nor_hashes(ann, browser, django_assert_max_num_queries):
    for number in range(MOST):
        sign_up(browser, "ann", f"other{number}@example.org")
    with django_assert_max_num_queries(4):
        assert sign_up(browser, "carol", "carol@example.org").status_code == 429


def test_changes_of_the_address_are_limited_per_hour(ann, bob, browser_of):
    browser = browser_of(ann)
    most = rate_limits.LIMITS[rate_limits.Kind.CHANGING].max_attempts
    answers = [browser.post("/accounts/email/", {"new_email": "bob@example.org"}) for _ in range(most + 1)]
    assert [answer.status_code for answer in answers] == [302] * most + [429]
    assert "Retry-After" in answers[-1]
    # A free address and a taken one get the same answer.
    assert browser.post("/accounts/email/", {"new_email": "free@example.org"}).status_code == 429


def test_changes_by_page_and_api_count_together(ann, bob, browser_of, hers):
    page = browser_of(ann)
    most = rate_limits.LIMITS[rate_limits.Kind.CHANGING].max_attempts
    for number in range(most // 2):
        page.post("/accounts/email/", {"new_email": f"n{number}@example.org"})
        hers.post("/api/email/change/", {"new_email": f"m{number}@example.org"})
    refused = hers.post("/api/email/change/", {"new_email": "bob@example.org"})
    assert (refused.status_code, refused.json()["code"]) == (429, "throttled")
    assert int(refused["Retry-After"]) > 60
    assert page.post("/accounts/email/", {"new_email": "bob@example.org"}).status_code == 429


def test_a_refused_change_over_the_api_looks_up_no_address(ann, hers, django_assert_max_num_queries):
    most = rate_limits.LIMITS[rate_limits.Kind.CHANGING].max_attempts
    for number in range(most):
        hers.post("/api/email/change/", {"new_email": f"n{number}@example.org"})
    # Blocklist, sign-in, level, user, and the count in its transaction (four).
    with django_assert_max_num_queries(8):
        assert hers.post("/api/email/change/", {"new_email": "bob@example.org"}).status_code == 429


def test_changes_of_the_address_count_with_sign_ups(ann, bob, browser, browser_of):
    page = browser_of(ann)
    for number in range(MOST):
        sign_up(browser, "ann", f"other{number}@example.org")
    assert page.post("/accounts/email/", {"new_email": "bob@example.org"}).status_code == 429


@pytest.mark.long
def test_throw_away_accounts_are_limited(db, browser):
    answers = [browser().post("/compare/throw-away/") for _ in range(MOST + 1)]
    assert [answer.status_code for answer in answers] == [200] * MOST + [429]
    assert "Retry-After" in answers[-1]
    assert User.objects.count() == MOST


def test_a_reset_request_over_the_limit_reads_no_user(ann, anonymous, django_assert_max_num_queries):
    most = rate_limits.LIMITS[rate_limits.Kind.RESETTING].max_attempts
    for number in range(most):
        anonymous.post("/api/password/reset/", {"email": f"nobody{number}@example.org"})
    events = SecurityEvent.objects.count()
    # The count has its own transaction.
    with django_assert_max_num_queries(4):
        assert anonymous.post("/api/password/reset/", {"email": "ann@example.org"}).status_code == 202
    assert SecurityEvent.objects.count() == events
    assert AttemptCounter.objects.locked_out().exists()
