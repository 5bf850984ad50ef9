"""Shorter limits of sign-ins: of staff members and of members of groups, and the number of sign-ins of a user."""

import threading
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.utils import timezone

from accounts import starting
from accounts.models import SecurityEvent, SignIn, User
from tests.accounts.conftest import is_accepted, is_revoked
from tests.accounts.test_session_pages import PROFILE, signed_in
from tests.conftest import claims_of, sign_in_of

pytestmark = pytest.mark.django_db

IDLE, LONGEST = timedelta(minutes=20), timedelta(hours=8)


@pytest.fixture
def staff_limits(settings):
    settings.STAFF_IDLE, settings.STAFF_MAX = IDLE, LONGEST


@pytest.fixture
def group_limits(settings, ann):
    """The group of Ann has limits."""
    settings.GROUP_LIMITS = {"support": (IDLE, LONGEST)}
    ann.groups.add(Group.objects.get_or_create(name="support")[0])


def use(clock, act, duration):
    """Uses the sign-in each ten minutes for the duration."""
    for _turn in range(int(duration / timedelta(minutes=10))):
        clock.shift(timedelta(minutes=10))
        act()


def test_an_idle_browser_of_staff_expires(clock, staff_limits, browser_of, staff):
    browser = browser_of(staff)
    clock.shift(IDLE)
    assert not signed_in(browser)


def test_a_browser_of_staff_that_is_used_stays_signed_in(clock, staff_limits, browser_of, staff):
    browser = browser_of(staff)
    use(clock, lambda: browser.get(PROFILE), timedelta(hours=7))
    assert signed_in(browser)


def test_a_use_of_a_short_sign_in_is_recorded_early(clock, staff_limits, browser_of, staff):
    browser = browser_of(staff)
    clock.shift(timedelta(minutes=4))
    browser.get(PROFILE)
    clock.shift(timedelta(minutes=19))
    assert signed_in(browser)


def test_a_browser_of_staff_reaches_its_maximum(clock, staff_limits, browser_of, staff):
    browser = browser_of(staff)
    use(clock, lambda: browser.get(PROFILE), LONGEST)
    assert not signed_in(browser)


def test_a_client_of_staff_that_does_not_refresh_expires(clock, staff_limits, client_of, staff):
    client = client_of(staff)
    clock.shift(IDLE)
    assert client.renew().status_code == 401


def test_a_client_of_staff_reaches_its_maximum(clock, staff_limits, client_of, staff):
    client = client_of(staff)
    use(clock, client.renew, LONGEST)
    assert is_revoked(client)


def test_no_token_of_staff_outlasts_the_maximum(clock, staff_limits, client_of, staff):
    client = client_of(staff)
    use(clock, client.renew, LONGEST - timedelta(minutes=10))
    clock.shift(timedelta(minutes=8))
    client.renew()
    assert claims_of(client.access)["exp"] == (sign_in_of(staff).created_at + LONGEST).timestamp()


def test_remember_me_does_not_exceed_the_limits(clock, staff_limits, browser, staff, password):
    kept = browser()
    kept.post("/accounts/login/", {"username": staff.username, "password": password, "keep": "on"})
    assert sign_in_of(staff).idle_timeout == IDLE


def test_other_users_have_no_shorter_limits(clock, staff_limits, browser_of, ann):
    browser = browser_of(ann)
    clock.shift(LONGEST)
    assert signed_in(browser)


def test_a_promoted_user_has_the_limits_at_once(clock, staff_limits, browser_of, ann):
    browser = browser_of(ann)
    clock.shift(IDLE)
    User.objects.filter(pk=ann.pk).update(is_staff=True)
    assert not signed_in(browser)


def test_limits_set_later_apply_to_earlier_sign_ins(clock, settings, browser_of, staff):
    browser = browser_of(staff)
    clock.shift(LONGEST)
    settings.STAFF_MAX = LONGEST
    assert not signed_in(browser)


def test_an_idle_browser_of_a_group_member_expires(clock, group_limits, browser_of, ann):
    browser = browser_of(ann)
    clock.shift(IDLE)
    assert not signed_in(browser)


def test_a_client_of_a_group_member_reaches_its_maximum(clock, group_limits, client_of, ann):
    client = client_of(ann)
    use(clock, client.renew, LONGEST)
    assert is_revoked(client)


def test_the_strictest_limits_apply(settings, staff_limits, client_of, staff):
    settings.GROUP_LIMITS = {"auditors": (timedelta(minutes=10), timedelta(hours=12))}
    staff.groups.add(Group.objects.create(name="auditors"))
    client_of(staff)
    started = sign_in_of(staff)
    assert (started.idle_timeout, started.max_age) == (timedelta(minutes=10), LONGEST)


def test_limits_take_no_statement_in_a_request(staff_limits, group_limits, browser_of, ann, django_assert_num_queries):
    browser = browser_of(ann)
    with django_assert_num_queries(1):
        browser.get("/api/session/")


# The number of sign-ins


@pytest.fixture
def two_at_most(settings):
    settings.SIGN_INS_PER_USER = 2


def test_the_oldest_sign_in_ends_at_the_limit(clock, two_at_most, browser_of, client_of, ann):
    oldest = browser_of(ann)
    clock.shift(1)
    client = client_of(ann)
    clock.shift(1)
    newest = browser_of(ann)
    assert (signed_in(oldest), is_accepted(client), signed_in(newest)) == (False, True, True)


def test_a_client_ends_at_the_limit_with_its_tokens(clock, two_at_most, browser_of, client_of, ann):
    client = client_of(ann)
    for _turn in range(2):
        clock.shift(1)
        browser_of(ann)
    assert is_revoked(client)


def test_the_end_at_the_limit_has_its_reason(clock, two_at_most, client_of, ann):
    for _turn in range(3):
        client_of(ann)
        clock.shift(1)
    [ended] = SignIn.objects.exclude(ended_at=None)
    event = SecurityEvent.objects.get(type=SecurityEvent.Type.SIGN_IN_ENDED)
    assert (ended.end_reason, event.sid, event.details["reason"]) == ("limit_reached", ended.pk, "limit_reached")


def test_expired_sign_ins_do_not_count(clock, two_at_most, browser_of, client_of, ann):
    browser_of(ann)
    client = client_of(ann)
    clock.shift(timedelta(days=2))
    client_of(ann)
    assert client.renew().status_code == 200


def test_sign_ins_of_others_do_not_count(two_at_most, client_of, ann, bob):
    client = client_of(ann)
    client_of(bob), client_of(bob)
    assert is_accepted(client)


def test_without_a_limit_all_sign_ins_stay(client_of, ann):
    clients = [client_of(ann) for _turn in range(4)]
    assert all(map(is_accepted, clients))


def test_the_sign_ins_of_a_service_have_no_limit(two_at_most, client_of, ann):
    User.objects.filter(pk=ann.pk).update(is_service=True)
    clients = [client_of(ann) for _turn in range(3)]
    assert all(map(is_accepted, clients))


@pytest.mark.django_db(transaction=True)
def test_sign_ins_that_start_together_stay_within_the_limit(two_at_most, ann):
    def start():
        try:
            starting.start(User.objects.get(pk=ann.pk), SignIn.Kind.CLIENT, methods=["password"])
        finally:
            connection.close()

    threads = [threading.Thread(target=start) for _each in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert SignIn.objects.count() == 6
    assert SignIn.objects.filter(user=ann).live().count() == 2


def test_a_lower_limit_takes_effect_with_the_next_sign_in(clock, settings, client_of, ann):
    for _turn in range(4):
        client_of(ann)
        clock.shift(1)
    settings.SIGN_INS_PER_USER = 1
    client_of(ann)
    assert SignIn.objects.filter(user=ann, ended_at__lte=timezone.now()).count() == 4
