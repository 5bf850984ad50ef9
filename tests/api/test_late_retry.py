"""REFRESH_PARENT_GRACE_DAYS: a suspended app retries a refresh whose response it has not received."""

from datetime import timedelta

import pytest

from accounts.models import SecurityEvent, SignIn
from tests.conftest import ApiClient

pytestmark = pytest.mark.django_db

DAYS = 3


@pytest.fixture
def graced(settings):
    settings.REFRESH_PARENT_GRACE = timedelta(days=DAYS)


def refresh(token):
    return ApiClient().post("/api/token/refresh/", {"refresh": token})


@pytest.fixture
def parent(client_of, ann):
    """Ann's refresh token, which was used once. The response was lost."""
    token = client_of(ann).refresh
    refresh(token)
    return token


def was_stolen():
    return SecurityEvent.objects.filter(type=SecurityEvent.Type.TOKEN_REUSED).exists()


def test_a_late_retry_gets_tokens_that_work(clock, graced, parent):
    clock.shift(timedelta(days=DAYS) - timedelta(seconds=1))
    pair = refresh(parent).json()
    assert ApiClient(pair["access"]).get("/api/me/").status_code == 200
    assert refresh(pair["refresh"]).status_code == 200


def test_a_retry_that_is_too_late_is_theft(clock, graced, parent):
    clock.shift(timedelta(days=DAYS))
    assert refresh(parent).status_code == 401
    assert was_stolen()


def test_without_the_setting_a_late_retry_is_theft(clock, parent):
    clock.shift(timedelta(minutes=1))
    assert refresh(parent).status_code == 401
    assert was_stolen()


def test_a_parent_whose_successor_was_used_is_refused(clock, graced, client_of, ann):
    client = client_of(ann)
    grandparent = client.refresh
    client.renew()
    client.renew()
    clock.shift(timedelta(minutes=1))
    assert refresh(grandparent).status_code == 401
    assert was_stolen()


def test_the_successor_that_a_late_retry_replaced_is_theft(clock, graced, client_of, ann):
    parent = client_of(ann).refresh
    unused = refresh(parent).json()["refresh"]
    clock.shift(timedelta(minutes=1))
    assert refresh(parent).status_code == 200
    assert refresh(unused).status_code == 401
    assert was_stolen()


def test_a_late_retry_can_be_repeated_in_the_grace_period(clock, graced, parent):
    clock.shift(timedelta(days=1))
    assert refresh(parent).json()["refresh"] == refresh(parent).json()["refresh"]


def test_a_late_retry_takes_two_statements(clock, graced, parent, django_assert_num_queries):
    clock.shift(timedelta(days=1))
    with django_assert_num_queries(2):
        refresh(parent)


def test_a_late_retry_after_the_end_is_refused(clock, graced, parent, ann):
    clock.shift(timedelta(days=1))
    SignIn.objects.filter(user=ann).end(SignIn.Reason.ENDED_BY_USER)
    assert refresh(parent).status_code == 401
    assert not was_stolen()


def test_a_late_retry_of_an_expired_sign_in_is_refused(clock, settings, parent):
    settings.REFRESH_PARENT_GRACE = timedelta(days=20)
    clock.shift(timedelta(days=14))
    assert refresh(parent).status_code == 401


def test_a_refresh_token_that_may_be_retried_is_verified(clock, graced, parent):
    clock.shift(timedelta(days=1))
    assert ApiClient().post("/api/token/verify/", {"token": parent}).status_code == 200
