"""The activity page, disputes of an event, the home page, and the deletion of the account."""

import re
from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry

from accounts.models import SecurityEvent, SignIn, User

pytestmark = pytest.mark.django_db

PAGE = "/accounts/activity/"


def event(user, type):
    return SecurityEvent.objects.filter(user=user, type=type).latest("id")


@pytest.fixture
def stranger(ann, client_of):
    """A client of an attacker who signed in as Ann."""
    return client_of(ann)


@pytest.fixture
def page(browser_of, ann, stranger):
    return browser_of(ann)


@pytest.mark.parametrize("type", SecurityEvent.Type.values)
def test_every_event_has_its_own_sentence(ann, type):
    written = SecurityEvent.objects.record(type, ann)
    assert written.sentence.endswith(".")


def test_the_page_describes_what_happened(page):
    content = page.get(PAGE).content.decode()
    assert content.index("A browser signed in.") < content.index("A client signed in.")


def test_the_page_shows_why_a_sign_in_ended(page):
    SignIn.objects.get(kind="client").end(SignIn.Reason.TOKEN_REUSED)
    assert "refresh token used twice" in page.get(PAGE).content.decode()


def test_the_activity_page_lists_25_events(page, ann):
    for _ in range(30):
        SecurityEvent.objects.record(SecurityEvent.Type.SIGN_IN_FAILED, ann)
    assert page.get(PAGE).content.decode().count("wrong password") == 25
    assert page.get(f"{PAGE}?page=2").content.decode().count("wrong password") == 5


def test_the_page_takes_four_statements_for_any_number_of_events(page, ann, client_of, django_assert_num_queries):
    for _ in range(10):
        client_of(ann)
    page.get(PAGE)
    # The session, the count, the page, the sign-ins of its events.
    with django_assert_num_queries(4):
        page.get(PAGE)


def test_the_activity_page_lists_no_events_of_other_users(page, bob):
    SecurityEvent.objects.record(SecurityEvent.Type.EMAIL_CHANGED, bob)
    assert "e-mail address was changed" not in page.get(PAGE).content.decode()


# Disputes


def not_me(ann, type="signed_in", **details):
    written = SecurityEvent.objects.filter(user=ann, type=type, **details).latest("id")
    return f"{PAGE}{written.pk}/not-me/"


def test_disputing_a_sign_in_ends_it_and_asks_for_a_new_password(page, stranger, ann):
    response = page.post(not_me(ann, details__kind="client"))
    assert response.headers["Location"] == "/accounts/password_change/"
    assert stranger.get("/api/me/").status_code == 401


def test_showing_the_question_ends_no_sign_in(page, stranger, ann):
    assert page.get(not_me(ann, details__kind="client")).status_code == 200
    assert stranger.get("/api/me/").status_code == 200


def test_disputing_requires_recent_authentication(clock, page, stranger, ann):
    clock.shift(timedelta(minutes=16))
    assert page.post(not_me(ann, details__kind="client")).headers["Location"].startswith("/accounts/confirm/")
    assert SignIn.objects.get(kind="client").ended_at is None


def test_the_current_sign_in_stays_valid(page, ann):
    page.post(not_me(ann, details__kind="browser"))
    assert page.get(PAGE).status_code == 200


def test_the_current_sign_in_has_no_dispute_link(page, ann):
    content = page.get(PAGE).content.decode()
    assert not_me(ann, details__kind="browser") not in content
    assert not_me(ann, details__kind="client") in content


def test_disputing_a_password_change_leads_to_a_password_change(page, ann):
    SecurityEvent.objects.record(SecurityEvent.Type.PASSWORD_CHANGED, ann)
    response = page.post(not_me(ann, "password_changed"))
    assert response.headers["Location"] == "/accounts/password_change/"


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_event_of_another_user_is_not_found(page, client_of, bob, method):
    bobs = client_of(bob)
    assert getattr(page, method)(not_me(bob)).status_code == 404
    assert bobs.get("/api/me/").status_code == 200


def test_an_event_whose_sign_in_is_gone_is_no_error(page, ann):
    path = not_me(ann, details__kind="client")
    SignIn.objects.filter(kind="client").delete()
    assert page.get(path).status_code == 200
    assert page.post(path).status_code == 302


# The home page


def test_the_home_page_describes_the_project_to_visitors(browser, django_assert_num_queries):
    with django_assert_num_queries(0):
        content = browser().get("/").content.decode()
    assert "The wristband" in content
    assert "The passport" in content


# Deleting the account


def test_deleting_the_account_requires_the_password(browser_of, ann):
    browser_of(ann).post("/accounts/delete/", {"password": "not the right passphrase"})
    assert User.objects.filter(pk=ann.pk).exists()


def test_a_wrong_password_at_the_deletion_is_recorded(browser_of, ann):
    browser_of(ann).post("/accounts/delete/", {"password": "not the right passphrase"})
    assert SecurityEvent.objects.filter(user=ann, type="sign_in_failed").count() == 1


@pytest.fixture
def deleted(page, password):
    return page.post("/accounts/delete/", {"password": password})


def test_a_deleted_account_does_not_exist(deleted, ann):
    assert "Your account was deleted" in deleted.content.decode()
    assert not User.objects.filter(pk=ann.pk).exists()


def test_all_sign_ins_of_a_deleted_account_are_ended(deleted, page, stranger):
    assert page.get("/accounts/profile/").status_code == 302
    assert stranger.get("/api/me/").status_code == 401


def test_events_of_a_deleted_account_stay_without_a_user(deleted):
    events = SecurityEvent.objects.filter(type__in=["signed_in", "sign_in_ended"])
    assert set(events.values_list("user", "actor")) == {(None, None)}
    assert events.count() == 4


def test_no_name_or_address_of_a_deleted_account_is_stored(ann, staff, page, password):
    LogEntry.objects.log_actions(staff.pk, [ann], CHANGE, "a line of the admin's own")
    page.post("/accounts/delete/", {"password": password})
    dump = str([list(model._base_manager.values()) for model in apps.get_models()])
    assert not re.search(r"\bann\b", dump)
    assert LogEntry.objects.exists()
