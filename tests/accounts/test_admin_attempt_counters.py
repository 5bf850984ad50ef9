"""The admin list of attempt counters, and their reset by staff."""

import pytest

from accounts.models import AttemptCounter, SecurityEvent
from tests.accounts.admin_pages import USERS, act, make_staff, make_support, text_of

pytestmark = pytest.mark.django_db

LOCKS = "/admin/accounts/attemptcounter/"
LIFTER = ["accounts.view_user", "accounts.view_lock", "accounts.lift_lock"]


@pytest.fixture
def locked(anonymous, ann, password, clock):
    """Ann, locked out by guesses of a stranger."""
    for number in range(8):
        anonymous.sign_in("ann", f"not the right passphrase {number}")
    assert anonymous.sign_in("ann", password).status_code == 429
    return ann


def test_staff_see_locked_out_users(browser_of, staff, locked):
    page = browser_of(staff)
    assert "ann" in text_of(page.get(LOCKS, {"q": "ann", "state": "locked"}))


def test_an_unknown_username_is_not_shown(browser_of, staff, anonymous):
    for _ in range(8):
        anonymous.sign_in("my-secret-typed-here", "not the right passphrase")
    assert "my-secret" not in text_of(browser_of(staff).get(LOCKS))


@pytest.mark.parametrize("where", ["user", "lock"])
def test_staff_reset_an_attempt_counter(browser_of, locked, anonymous, password, where):
    lifter = make_staff("lifter", password, *LIFTER)
    page = browser_of(lifter)
    if where == "user":
        act(page, USERS, "unlock", locked)
    else:
        act(page, LOCKS, "lift", *AttemptCounter.objects.locked_out())
    assert anonymous.sign_in("ann", password).status_code == 200
    event = SecurityEvent.objects.filter(type="unlocked").latest("id")
    assert (event.actor, event.details["why"]) == (lifter, "The phone was stolen.")


def test_resetting_asks_for_confirmation(browser_of, staff, locked, anonymous, password):
    act(browser_of(staff), USERS, "unlock", locked, agree=False)
    act(browser_of(staff), LOCKS, "lift", *AttemptCounter.objects.locked_out(), agree=False)
    assert anonymous.sign_in("ann", password).status_code == 429


def test_support_cannot_reset_attempt_counters(browser_of, locked, anonymous, password):
    page = browser_of(make_support("dana", password))
    assert page.get(LOCKS).status_code == 403
    act(page, USERS, "unlock", locked)
    act(page, LOCKS, "lift", *AttemptCounter.objects.locked_out())
    assert anonymous.sign_in("ann", password).status_code == 429
