"""The overview of an account: the check-up, this device, the last event that matters."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts import demo, passwords, starting
from accounts.models import SecurityEvent, SignIn, User
from tests.accounts.conftest import text_of
from tests.second_factors import add_app

pytestmark = pytest.mark.django_db

OTHER_PASSWORD = "amber lanterns drift past noon"


@pytest.fixture
def start(ann):
    """Returns a function that starts another sign-in of Ann."""

    def start(user_agent, ago=timedelta(0), kind=SignIn.Kind.BROWSER, **fields):
        sign_in = starting.start(User.objects.get(pk=ann.pk), kind)
        fields |= {"user_agent": user_agent, "created_at": timezone.now() - ago}
        SignIn.objects.filter(pk=sign_in.pk).update(**fields)
        return sign_in

    return start


def overview(browser):
    """Returns the text of the page in one line."""
    return text_of(browser.get("/"))


def record(user, type):
    return SecurityEvent.objects.record(type, user)


def test_the_overview_greets_the_user(here):
    assert "Hello, ann" in overview(here)


# The address


def test_a_confirmed_address_is_in_order(here):
    assert "Your e-mail address ann@example.org is confirmed." in overview(here)


def test_an_unconfirmed_address_is_shown_until_it_is_confirmed(here, ann):
    User.objects.update(email_confirmed_at=None)
    assert "Confirm your e-mail address ann@example.org" in overview(here)
    assert 'action="/accounts/email/ask/"' in here.get("/").content.decode()
    User.objects.update(email_confirmed_at=ann.date_joined)
    assert "Confirm your e-mail address" not in overview(here)


def test_a_pending_address_can_be_cancelled(here):
    User.objects.update(new_email="new@example.org")
    assert "Your e-mail address changes to new@example.org" in overview(here)
    assert "/accounts/email/cancel/" in here.get("/").content.decode()


def test_a_temporary_account_has_neither_address_nor_factor(browser):
    user, secret = demo.make_throw_away()
    guest = browser()
    guest.post("/accounts/login/", {"username": user.username, "password": secret})
    page = overview(guest)
    assert "e-mail address" not in page.partition("This device")[0]
    assert "second factor" not in page.partition("This device")[0]


# The second factor


def test_a_password_alone_is_reported(here):
    assert "Your password alone is enough to sign in. Add a second factor" in overview(here)


def test_a_second_factor_is_in_order(here, hers):
    add_app(hers)
    assert "A second factor protects your account." in overview(here)


def test_without_second_factors_none_is_asked_for(settings, here):
    settings.SECOND_FACTOR = "off"
    assert "second factor" not in overview(here).partition("Last important event")[0]


# New devices


def test_this_device_is_not_new(here):
    assert "No new device in the last 7 days." in overview(here)


def test_a_device_of_this_week_is_new(here, start):
    start("curl/8.9.1", ago=timedelta(days=6), kind=SignIn.Kind.CLIENT)
    assert "1 new device in the last 7 days: curl." in overview(here)


def test_a_device_of_last_week_is_not_new(here, start):
    start("curl/8.9.1", ago=timedelta(days=7, minutes=1), kind=SignIn.Kind.CLIENT)
    assert "No new device" in overview(here)


def test_a_known_device_that_signs_in_again_is_not_new(here, start):
    start("curl/8.9.1", ago=timedelta(days=20), kind=SignIn.Kind.CLIENT)
    start("curl/8.10.0", ago=timedelta(days=1), kind=SignIn.Kind.CLIENT)
    assert "No new device" in overview(here)


def test_a_new_device_is_reported_after_its_sign_in_ended(here, start):
    start("thief/1.0", kind=SignIn.Kind.CLIENT).end(SignIn.Reason.ENDED_BY_USER)
    assert "thief/1.0" in overview(here)


def test_three_new_devices_are_named_and_the_rest_counted(here, start):
    for number in range(5):
        start(f"app-{number}/1.0", ago=timedelta(hours=number), kind=SignIn.Kind.CLIENT)
    expected = "5 new devices in the last 7 days: app-0/1.0, app-1/1.0, app-2/1.0 and 2 more."
    assert expected in overview(here)


# The password


def test_a_password_of_the_sign_up_has_the_age_of_the_account(here):
    User.objects.update(date_joined=timezone.now() - timedelta(days=40))
    assert "Your password was set 40 days ago." in overview(here)


def test_a_changed_password_has_the_age_of_the_change(clock, browser, ann):
    User.objects.update(date_joined=timezone.now() - timedelta(days=400))
    passwords.change(User.objects.get(pk=ann.pk), OTHER_PASSWORD)
    clock.shift(timedelta(days=3))
    here = browser()
    here.post("/accounts/login/", {"username": "ann", "password": OTHER_PASSWORD})
    assert "Your password was set 3 days ago." in overview(here)


def test_a_password_older_than_the_events_has_no_exact_age(here):
    User.objects.update(date_joined=timezone.now() - timedelta(days=4000))
    assert "Your password was set more than 365 days ago." in overview(here)


# This device, and the last event


@pytest.mark.parametrize("word", ["Firefox on Windows", "Signed in just now", "in 23 hours", "password", "192.0.2.7"])
def test_this_device_is_described(here, word):
    device = overview(here).partition("This device")[2].partition("Last important event")[0]
    assert word in device


def test_this_device_has_a_place(browser, ann, password, places_database):
    firefox = browser()
    form = {"username": ann.username, "password": password}
    firefox.post("/accounts/login/", form, REMOTE_ADDR=places_database.LONDON)
    assert "(London, United Kingdom)" in overview(firefox)


def test_sign_ins_are_no_important_event(here, start):
    start("curl/8.9.1").end(SignIn.Reason.ENDED_BY_USER)
    record(User.objects.get(username="ann"), "sign_in_failed")
    assert "have not been changed." in overview(here)


def test_an_important_event_is_shown_until_the_next_one(here, ann):
    record(ann, "password_changed")
    record(ann, "signed_in")
    assert "Your password was changed." in overview(here)
    record(ann, "factor_added")
    page = overview(here)
    assert "A second factor was added." in page
    assert "This wasn't me" in page
    assert "Your password was changed." not in page


def test_events_of_other_users_are_not_shown(here, bob):
    record(bob, "password_changed")
    assert "have not been changed." in overview(here)


# Statements


def test_the_overview_takes_four_statements(here, start, ann, django_assert_num_queries):
    here.get("/")
    for number in range(20):
        start(f"app-{number}/1.0", kind=SignIn.Kind.CLIENT)
        record(ann, "password_changed")
    # The session, this sign-in with whether there is a second factor, the newest sign-ins, the two events.
    with django_assert_num_queries(4):
        here.get("/")


def test_a_long_list_of_devices_is_compared_up_to_a_limit(here, start, django_assert_num_queries):
    for number in range(105):
        start("curl/8.9.1", kind=SignIn.Kind.CLIENT, ago=timedelta(seconds=number))
    with django_assert_num_queries(4):
        assert "1 new device" in overview(here)
