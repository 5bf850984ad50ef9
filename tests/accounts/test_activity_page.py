"""Activity: what happened, in plain words, and what to do if it was somebody else."""

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
    """A client that signed in as Ann and is not hers."""
    return client_of(ann)


@pytest.fixture
def page(browser_of, ann, stranger):
    return browser_of(ann)


@pytest.mark.parametrize("type", SecurityEvent.Type.values)
def test_every_event_has_a_sentence_of_its_own(ann, type):
    written = SecurityEvent.objects.record(type, ann)
    assert written.sentence.endswith(".")


def test_it_says_what_happened_in_plain_words(page):
    content = page.get(PAGE).content.decode()
    assert content.index("A browser signed in.") < content.index("A client signed in.")


def test_it_says_why_a_sign_in_was_ended(page):
    SignIn.objects.get(kind="client").end(SignIn.Reason.TOKEN_REUSED)
    assert "refresh token used twice" in page.get(PAGE).content.decode()


def test_there_are_25_a_page(page, ann):
    for _ in range(30):
        SecurityEvent.objects.record(SecurityEvent.Type.SIGN_IN_FAILED, ann)
    assert page.get(PAGE).content.decode().count("wrong password") == 25
    assert page.get(f"{PAGE}?page=2").content.decode().count("wrong password") == 5


def test_it_takes_four_statements_however_much_happened(page, ann, client_of, django_assert_num_queries):
    for _ in range(10):
        client_of(ann)
    page.get(PAGE)
    # The session, the number, the page, the sign-ins that it names.
    with django_assert_num_queries(4):
        page.get(PAGE)


def test_what_happened_to_others_is_not_there(page, bob):
    SecurityEvent.objects.record(SecurityEvent.Type.EMAIL_CHANGED, bob)
    assert "e-mail address was changed" not in page.get(PAGE).content.decode()


# This wasn't me


def not_me(ann, type="signed_in", **details):
    written = SecurityEvent.objects.filter(user=ann, type=type, **details).latest("id")
    return f"{PAGE}{written.pk}/not-me/"


def test_the_sign_in_that_was_not_hers_is_ended_and_the_password_comes_next(page, stranger, ann):
    response = page.post(not_me(ann, details__kind="client"))
    assert response.headers["Location"] == "/accounts/password_change/"
    assert stranger.get("/api/me/").status_code == 401


def test_looking_at_the_question_ends_nothing(page, stranger, ann):
    assert page.get(not_me(ann, details__kind="client")).status_code == 200
    assert stranger.get("/api/me/").status_code == 200


def test_it_asks_for_the_password_if_that_was_long_ago(clock, page, stranger, ann):
    clock.shift(timedelta(minutes=16))
    assert page.post(not_me(ann, details__kind="client")).headers["Location"].startswith("/accounts/confirm/")
    assert SignIn.objects.get(kind="client").ended_at is None


def test_the_sign_in_in_use_goes_on(page, ann):
    page.post(not_me(ann, details__kind="browser"))
    assert page.get(PAGE).status_code == 200


def test_the_one_in_use_has_no_such_link(page, ann):
    content = page.get(PAGE).content.decode()
    assert not_me(ann, details__kind="browser") not in content
    assert not_me(ann, details__kind="client") in content


def test_a_change_of_the_password_that_was_not_hers_leads_to_another(page, ann):
    SecurityEvent.objects.record(SecurityEvent.Type.PASSWORD_CHANGED, ann)
    response = page.post(not_me(ann, "password_changed"))
    assert response.headers["Location"] == "/accounts/password_change/"


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_event_of_somebody_else_is_not_found(page, client_of, bob, method):
    bobs = client_of(bob)
    assert getattr(page, method)(not_me(bob)).status_code == 404
    assert bobs.get("/api/me/").status_code == 200


def test_an_event_whose_sign_in_is_gone_is_no_error(page, ann):
    path = not_me(ann, details__kind="client")
    SignIn.objects.filter(kind="client").delete()
    assert page.get(path).status_code == 200
    assert page.post(path).status_code == 302


# The first page


def test_a_visitor_sees_what_this_is(browser, django_assert_num_queries):
    with django_assert_num_queries(0):
        content = browser().get("/").content.decode()
    assert "The wristband" in content
    assert "The passport" in content


def test_somebody_signed_in_sees_the_state_of_their_account(page, django_assert_num_queries):
    page.get("/")
    # The session, the number of sign-ins, the first of them, the last events.
    with django_assert_num_queries(4):
        content = page.get("/").content.decode()
    assert "Hello, ann" in content
    assert "2 sign-ins" in content
    assert "A client signed in." in content


def test_an_unconfirmed_address_is_named_until_it_is_confirmed(page, ann):
    User.objects.update(email_confirmed_at=None)
    assert "Confirm your e-mail address ann@example.org" in page.get("/").content.decode()
    User.objects.update(email_confirmed_at=ann.date_joined)
    assert "Confirm your e-mail address" not in page.get("/").content.decode()


# Deleting the account


def test_deleting_needs_the_password(browser_of, ann):
    browser_of(ann).post("/accounts/delete/", {"password": "not the right passphrase"})
    assert User.objects.filter(pk=ann.pk).exists()


def test_a_wrong_password_there_is_recorded(browser_of, ann):
    browser_of(ann).post("/accounts/delete/", {"password": "not the right passphrase"})
    assert SecurityEvent.objects.filter(user=ann, type="sign_in_failed").count() == 1


@pytest.fixture
def deleted(page, password):
    return page.post("/accounts/delete/", {"password": password})


def test_a_deleted_account_is_gone(deleted, ann):
    assert "Your account was deleted" in deleted.content.decode()
    assert not User.objects.filter(pk=ann.pk).exists()


def test_everything_of_a_deleted_account_has_ended(deleted, page, stranger):
    assert page.get("/accounts/profile/").status_code == 302
    assert stranger.get("/api/me/").status_code == 401


def test_its_events_stay_without_a_name(deleted):
    events = SecurityEvent.objects.filter(type__in=["signed_in", "sign_in_ended"])
    assert set(events.values_list("user", "actor")) == {(None, None)}
    assert events.count() == 4


def test_no_name_or_address_of_a_deleted_account_is_left(ann, staff, page, password):
    LogEntry.objects.log_actions(staff.pk, [ann], CHANGE, "a line of the admin's own")
    page.post("/accounts/delete/", {"password": password})
    dump = str([list(model._base_manager.values()) for model in apps.get_models()])
    assert not re.search(r"\bann\b", dump)
    assert LogEntry.objects.exists()
