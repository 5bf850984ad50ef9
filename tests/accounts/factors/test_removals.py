"""Removal of lost factors: staff request it, the user can stop it for a day, then the password signs in."""

import re
from datetime import timedelta

import pytest

from accounts.factors import changes, removals
from accounts.models import FactorRemoval, Passkey, SecurityEvent, SignIn, User
from tests.conftest import ApiClient
from tests.second_factors import add_app, add_passkey, password_step

pytestmark = pytest.mark.django_db

WHY = "Lost the phone, seen in person."


@pytest.fixture
def hers(client_of, ann):
    client = client_of(ann)
    add_app(client)
    add_passkey(client)
    return client


@pytest.fixture
def requested(settings, hers, ann, staff, mails_of):
    settings.SITE_URL = "https://testserver"
    return mails_of(lambda: removals.request(User.objects.get(pk=ann.pk), staff, WHY))


def link_in(mails):
    return re.search(r"https://testserver(/accounts/factors/stop-removal/\S+)", mails[0].body)[1]


def test_the_user_gets_a_mail_with_a_link_that_stops_it(requested, browser, clock, ann, password):
    assert requested[0].subject == "The second factors of your account will be removed"
    page = browser()
    assert page.get(link_in(requested)).status_code == 200
    assert FactorRemoval.objects.get().closed_at is None
    assert page.post(link_in(requested)).status_code == 200
    clock.shift(timedelta(hours=25))
    password_step(ann, password)
    assert Passkey.objects.exists()


def test_a_link_works_once_and_for_a_day(requested, browser, clock):
    assert browser().post(link_in(requested)).status_code == 200
    assert browser().post(link_in(requested)).status_code == 400
    assert browser().get("/accounts/factors/stop-removal/abc:def:ghi/").status_code == 400


def test_before_a_day_has_passed_nothing_is_removed(requested, clock, ann, password):
    clock.shift(timedelta(hours=23, minutes=59))
    password_step(ann, password)


def test_after_a_day_the_password_signs_in(requested, hers, clock, ann, password, client_of):
    clock.shift(timedelta(hours=24, seconds=1))
    assert client_of(ann).get("/api/factors/").json() == {"results": []}
    assert SignIn.objects.live().count() == 1
    event = SecurityEvent.objects.filter(type="factor_removed").first()
    assert event.details["why"] == WHY
    assert event.actor.username == "sue"


def test_after_a_day_a_wrong_password_removes_nothing(requested, clock, anonymous, ann):
    clock.shift(timedelta(hours=24, seconds=1))
    assert anonymous.post("/api/token/", {"username": "ann", "password": "wrong"}).status_code == 401
    assert Passkey.objects.exists()


def test_only_one_removal_is_pending(requested, ann, staff):
    assert removals.request(ann, staff, "Again.") is None
    assert FactorRemoval.objects.count() == 1


def test_all_factors_are_removed_at_once_by_the_function_of_the_command(hers, ann):
    assert changes.remove_all(User.objects.get(pk=ann.pk)) == 3
    assert hers.get("/api/me/").status_code == 401
    assert ApiClient().sign_in("ann", "violet anchor hums at dawn").status_code == 200


def test_after_other_ends_of_all_sign_ins_a_removal_lets_no_earlier_password_in(hers, ann, password):
    from django.contrib.auth import authenticate

    from accounts import ending, starting
    from accounts.models import SignInRefused

    verified = authenticate(username="ann", password=password)
    ending.end_all(User.objects.get(pk=ann.pk), SignIn.Reason.ENDED_BY_USER)
    changes.remove_all(verified)
    with pytest.raises(SignInRefused):
        starting.start(verified, SignIn.Kind.CLIENT)
