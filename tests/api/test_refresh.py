"""Rotation of refresh tokens: retries within ten seconds, reuse after that, and expiry."""

from datetime import timedelta

import pytest
from django.apps import apps

from accounts.models import SecurityEvent, SignIn, User
from tests.conftest import bearer, claims_of, send_mails

pytestmark = pytest.mark.django_db


@pytest.fixture
def refresh(anonymous):
    """Sends a refresh token and returns the response."""
    return lambda token: anonymous.post("/api/token/refresh/", {"refresh": token})


@pytest.fixture
def me(browser):
    """Sends an access token and returns the status."""
    return lambda token: browser().get("/api/me/", headers=bearer(token)).status_code


def rows():
    return {model._meta.label: model._base_manager.count() for model in apps.get_models()}


# Rotation


def test_a_refresh_gives_another_refresh_token(clock, client_of, ann, refresh):
    first = client_of(ann).refresh
    second = refresh(first).json()["refresh"]
    assert claims_of(second)["jti"] != claims_of(first)["jti"]


def test_a_refresh_stays_within_the_sign_in(clock, client_of, ann, refresh):
    first = client_of(ann).refresh
    second = refresh(first).json()["refresh"]
    assert claims_of(second)["sid"] == claims_of(first)["sid"]


def test_a_refreshed_access_token_is_accepted(clock, client_of, ann, refresh, me):
    assert me(refresh(client_of(ann).refresh).json()["access"]) == 200


def test_the_access_token_from_before_a_refresh_stays_valid(clock, client_of, ann, refresh, me):
    client = client_of(ann)
    refresh(client.refresh)
    assert me(client.access) == 200


def test_a_long_chain_of_refreshes_works(clock, client_of, ann, refresh):
    token = client_of(ann).refresh
    for _ in range(20):
        clock.shift(60)
        token = refresh(token).json()["refresh"]
    assert refresh(token).status_code == 200


def test_a_refresh_takes_two_statements(client_of, ann, refresh, django_assert_num_queries):
    token = client_of(ann).refresh
    with django_assert_num_queries(2):
        assert refresh(token).status_code == 200


def test_a_refresh_and_a_last_seen_time_change_no_index(clock, client_of, browser_of, ann, refresh):
    indexed = {name.strip("-") for index in SignIn._meta.indexes for name in index.fields}
    indexed |= {field.name for field in SignIn._meta.concrete_fields if field.db_index or field.unique}
    token, ann_in_a_browser = client_of(ann).refresh, browser_of(ann)
    before = {sign_in["id"]: sign_in for sign_in in SignIn.objects.values()}
    clock.shift(600)
    assert refresh(token).status_code == 200
    assert ann_in_a_browser.get("/accounts/sign-ins/").status_code == 200
    for sign_in in SignIn.objects.values():
        changed = {name for name, value in sign_in.items() if value != before[sign_in["id"]][name]}
        assert "last_seen_at" in changed
        assert changed.isdisjoint(indexed | {f"{name}_id" for name in indexed})


def test_a_refresh_adds_no_row(client_of, ann, refresh):
    token = client_of(ann).refresh
    before = rows()
    refresh(token)
    assert rows() == before


def test_a_repeated_refresh_adds_no_row(client_of, ann, refresh):
    token = client_of(ann).refresh
    before = rows()
    refresh(token)
    refresh(token)
    assert rows() == before


# Retries within the grace period


@pytest.mark.parametrize("seconds", [0, 1, 5, 9])
def test_a_retry_in_the_grace_period_returns_the_same_token(clock, client_of, ann, refresh, seconds):
    first = client_of(ann).refresh
    successor = refresh(first).json()["refresh"]
    clock.shift(seconds)
    assert refresh(first).json()["refresh"] == successor


@pytest.mark.parametrize("seconds", [0, 1, 5, 9])
def test_a_retry_in_the_grace_period_has_the_same_successor(clock, client_of, ann, refresh, seconds):
    first = client_of(ann).refresh
    successor = refresh(first).json()["refresh"]
    clock.shift(seconds)
    assert claims_of(refresh(first).json()["refresh"])["jti"] == claims_of(successor)["jti"]


def test_a_retry_gets_an_access_token_that_works(clock, client_of, ann, refresh, me):
    first = client_of(ann).refresh
    refresh(first)
    assert me(refresh(first).json()["access"]) == 200


def test_many_retries_leave_one_live_successor(clock, client_of, ann, refresh):
    first = client_of(ann).refresh
    assert len({refresh(first).json()["refresh"] for _ in range(10)}) == 1


def test_a_retry_records_no_reuse(clock, client_of, ann, refresh):
    first = client_of(ann).refresh
    refresh(first)
    refresh(first)
    assert not SecurityEvent.objects.filter(type="token_reused").exists()


def test_the_successor_works_after_a_retry(clock, client_of, ann, refresh):
    first = client_of(ann).refresh
    refresh(first)
    successor = refresh(first).json()["refresh"]
    clock.shift(60)
    assert refresh(successor).status_code == 200


def test_a_retry_after_the_end_of_the_sign_in_is_refused(clock, client_of, ann, refresh):
    client = client_of(ann)
    refresh(client.refresh)
    client.post("/api/sign-ins/end-all/", {})
    assert refresh(client.refresh).status_code == 401


# Reuse


@pytest.fixture
def stolen(clock, client_of, ann, refresh):
    """A rotated refresh token sent again too late; all tokens of the family, and the response."""
    client = client_of(ann)
    successor = refresh(client.refresh).json()
    clock.shift(11)
    return {
        "first": client.refresh,
        "first access": client.access,
        "successor": successor["refresh"],
        "successor access": successor["access"],
        "answer": refresh(client.refresh),
    }


def test_a_rotated_token_presented_later_is_refused(stolen):
    assert stolen["answer"].status_code == 401
    assert stolen["answer"].json()["code"] == "token_not_valid"


def test_reuse_ends_the_sign_in(stolen):
    assert SignIn.objects.get().ended_at is not None


def test_reuse_ends_the_successor(stolen, refresh):
    response = refresh(stolen["successor"])
    assert (response.status_code, response.json()["code"]) == (401, "token_not_valid")


@pytest.mark.parametrize("token", ["first access", "successor access"])
def test_reuse_ends_every_access_token_of_the_sign_in(stolen, me, token):
    assert me(stolen[token]) == 401


def test_reuse_is_a_security_event(stolen, ann):
    event = SecurityEvent.objects.get(type="token_reused")
    assert event.user == ann


def test_the_event_of_a_reuse_names_the_sign_in(stolen):
    assert str(SecurityEvent.objects.get(type="token_reused").sid) == claims_of(stolen["first"])["sid"]


def test_reuse_does_not_end_other_sign_ins_of_the_user(client_of, ann, stolen):
    assert client_of(ann).get("/api/me/").status_code == 200


@pytest.fixture
def warning(clock, client_of, ann, refresh, mailoutbox, django_capture_on_commit_callbacks):
    """The mails about a reuse, and the tokens that they must not contain."""
    client = client_of(ann)
    successor = refresh(client.refresh).json()["refresh"]
    clock.shift(11)
    send_mails()
    mailoutbox.clear()
    with django_capture_on_commit_callbacks(execute=True):
        refresh(client.refresh)
    send_mails()
    return mailoutbox, [client.refresh, client.access, successor]


def test_reuse_is_mailed_to_the_user(warning, ann):
    mails, _ = warning
    assert [message.to for message in mails] == [[ann.email]]


def test_the_mail_about_a_reuse_contains_no_token(warning):
    mails, tokens = warning
    assert not [token for token in tokens if token in str(mails[0].message())]


def test_a_retry_does_not_prolong_the_grace_period(clock, client_of, ann, refresh):
    first = client_of(ann).refresh
    refresh(first)
    clock.shift(9)
    refresh(first)
    clock.shift(2)
    assert refresh(first).status_code == 401


def test_the_grace_period_begins_with_the_first_use(clock, client_of, ann, refresh):
    first = client_of(ann).refresh
    clock.shift(3600)
    successor = refresh(first).json()["refresh"]
    clock.shift(9)
    assert refresh(first).json()["refresh"] == successor


def test_a_grandparent_is_refused_at_once(clock, client_of, ann, refresh):
    first = client_of(ann).refresh
    second = refresh(first).json()["refresh"]
    refresh(second)
    assert refresh(first).status_code == 401


def test_a_grandparent_ends_the_sign_in(clock, client_of, ann, refresh):
    first = client_of(ann).refresh
    second = refresh(first).json()["refresh"]
    third = refresh(second).json()["refresh"]
    refresh(first)
    assert refresh(third).status_code == 401


def test_a_grandparent_records_a_reuse(clock, client_of, ann, refresh):
    first = client_of(ann).refresh
    second = refresh(first).json()["refresh"]
    refresh(second)
    refresh(first)
    assert SecurityEvent.objects.filter(type="token_reused", user=ann).count() == 1


# Expiry


def test_a_refresh_token_idle_for_under_fourteen_days_works(clock, client_of, ann, refresh):
    token = client_of(ann).refresh
    clock.shift(timedelta(days=13, hours=23))
    assert refresh(token).status_code == 200


def test_a_refresh_token_idle_for_fourteen_days_is_refused(clock, client_of, ann, refresh):
    token = client_of(ann).refresh
    clock.shift(timedelta(days=14, minutes=1))
    response = refresh(token)
    assert (response.status_code, response.json()["code"]) == (401, "token_not_valid")


def test_a_refresh_restarts_the_fourteen_days(clock, client_of, ann, refresh):
    token = client_of(ann).refresh
    clock.shift(timedelta(days=10))
    token = refresh(token).json()["refresh"]
    clock.shift(timedelta(days=10))
    assert refresh(token).status_code == 200


def test_a_sign_in_in_use_lasts_until_day_thirty(clock, client_of, ann, refresh):
    token = client_of(ann).refresh
    for _ in range(29):
        clock.shift(timedelta(days=1))
        token = refresh(token).json()["refresh"]
    clock.shift(timedelta(hours=23))
    assert refresh(token).status_code == 200


def test_use_does_not_extend_a_sign_in_beyond_thirty_days(clock, client_of, ann, refresh):
    token = client_of(ann).refresh
    for _ in range(29):
        clock.shift(timedelta(days=1))
        token = refresh(token).json()["refresh"]
    clock.shift(timedelta(days=1, minutes=1))
    response = refresh(token)
    assert (response.status_code, response.json()["code"]) == (401, "token_not_valid")


def test_no_refresh_token_expires_after_its_sign_in(clock, client_of, ann, refresh):
    token = client_of(ann).refresh
    signed_in_at = claims_of(token)["iat"]
    clock.shift(timedelta(days=10))
    token = refresh(token).json()["refresh"]
    clock.shift(timedelta(days=10))
    token = refresh(token).json()["refresh"]
    assert claims_of(token)["exp"] <= signed_in_at + timedelta(days=30).total_seconds()


def test_an_access_token_works_until_it_expires(clock, client_of, ann, me):
    token = client_of(ann).access
    clock.shift(timedelta(minutes=4, seconds=59))
    assert me(token) == 200


def test_an_expired_access_token_is_refused_after_earlier_use(clock, client_of, ann, me):
    token = client_of(ann).access
    me(token)
    clock.shift(timedelta(minutes=5, seconds=16))
    assert me(token) == 401


# Inactive and deleted users


def test_a_deactivated_user_cannot_refresh(client_of, ann, refresh):
    token = client_of(ann).refresh
    User.objects.filter(pk=ann.pk).update(is_active=False)
    response = refresh(token)
    assert response.status_code == 401
    assert response.json()["code"] in {"token_not_valid", "no_active_account"}


def test_a_deleted_user_cannot_refresh(client_of, ann, refresh):
    token = client_of(ann).refresh
    ann.delete()
    response = refresh(token)
    assert response.status_code == 401
    assert response.json()["code"] in {"token_not_valid", "no_active_account"}


def test_a_refresh_token_of_a_deleted_sign_in_is_refused(client_of, ann, refresh):
    token = client_of(ann).refresh
    SignIn.objects.all().delete()
    assert refresh(token).status_code == 401


def test_the_refusal_of_a_deactivated_user_records_no_reuse(client_of, ann, refresh):
    token = client_of(ann).refresh
    User.objects.filter(pk=ann.pk).update(is_active=False)
    refresh(token)
    assert not SecurityEvent.objects.filter(type="token_reused").exists()
