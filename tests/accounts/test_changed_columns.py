"""save() writes only the columns that changed, also of a stale instance."""

from copy import copy
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, models, transaction
from django.db.models import F
from django.utils import timezone

from accounts import passwords, starting
from accounts.models import AccountChanged, SignIn, User
from tests.accounts.admin_pages import USERS
from tests.accounts.ways_to_end import Fields

pytestmark = pytest.mark.django_db
NEW_PASSWORD = "quiet copper lantern drifts"


@pytest.fixture
def stale(ann: User) -> User:
    """An instance that was read before another request changed the account."""
    stale = User.objects.get(pk=ann.pk)
    User.objects.filter(pk=ann.pk).update(last_name="Ayres", is_staff=True, email="a@example.net")
    return stale


@pytest.fixture
def sign_in(ann: User) -> SignIn:
    return starting.start(ann, SignIn.Kind.CLIENT, idle_timeout=timedelta(days=1))


def test_a_stale_instance_writes_one_column_in_one_statement(stale: User, django_assert_num_queries: Any) -> None:
    stale.first_name = "Ann"
    with django_assert_num_queries(1) as queries:
        stale.save()
    assert queries[0]["sql"].count(" = ") == 2
    fresh = User.objects.get(pk=stale.pk)
    assert (fresh.first_name, fresh.last_name, fresh.is_staff, fresh.email) == ("Ann", "Ayres", True, "a@example.net")


def test_an_unchanged_column_is_not_written(stale: User, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        stale.save()


def test_a_second_save_writes_nothing_again(stale: User, django_assert_num_queries: Any) -> None:
    stale.first_name = "Ann"
    stale.save()
    User.objects.filter(pk=stale.pk).update(first_name="Anna")
    with django_assert_num_queries(0):
        stale.save()


def test_a_copy_has_its_own_record_of_saved_values(stale: User) -> None:
    other = copy(stale)
    other.first_name = stale.first_name = "Ann"
    other.save()
    assert stale.changed_columns() == ["first_name"]


def test_an_expression_is_applied_once(stale: User) -> None:
    stale.generation = F("generation") + 1
    stale.save()
    stale.save()
    assert User.objects.get(pk=stale.pk).generation == 1


def test_reading_a_deferred_field_keeps_a_value_that_was_set(stale: User) -> None:
    partial = User.objects.only("username").get(pk=stale.pk)
    partial.first_name = "Ann"
    assert partial.last_name == "Ayres"
    partial.save()
    assert User.objects.get(pk=stale.pk).first_name == "Ann"


@pytest.mark.skipif(not hasattr(models, "FETCH_PEERS"), reason="Django 6.1")
def test_a_field_read_for_several_users_is_not_written(ann: User, bob: User, django_assert_num_queries: Any) -> None:
    users = list(User.objects.defer("last_name").fetch_mode(models.FETCH_PEERS).filter(pk__in=[ann.pk, bob.pk]))
    assert [each.last_name for each in users] == ["", ""]
    with django_assert_num_queries(0):
        for each in users:
            each.save()


def test_claims_of_a_token_are_not_written(ann: User, client_of: Any) -> None:
    client = client_of(ann)
    User.objects.filter(pk=ann.pk).update(username="anna")
    assert client.patch("/api/me/", {"first_name": "Ann"}).json()["username"] == "anna"
    assert User.objects.get(pk=ann.pk).username == "anna"


@pytest.mark.parametrize("options", [{}, {"update_fields": ["first_name"]}, {"force_update": True}])
def test_a_deleted_row_is_not_inserted_again(stale: User, options: dict[str, Any]) -> None:
    User.objects.filter(pk=stale.pk).delete()
    stale.first_name = "Ann"
    with pytest.raises(User.DoesNotExist), transaction.atomic():
        stale.save(**options)
    assert not User.objects.filter(username="ann").exists()


def test_a_new_instance_with_an_existing_key_is_refused(ann: User) -> None:
    with pytest.raises(IntegrityError):
        User(pk=ann.pk, username="mallory", email="m@example.org").save()


def test_a_copy_under_another_key_is_a_new_account(ann: User) -> None:
    other = User.objects.get(pk=ann.pk)
    other.pk, other.username, other.email = None, "anna", "anna@example.org"
    other.save()
    assert User.objects.filter(username__in=["ann", "anna"]).count() == 2


def test_a_stale_password_does_not_overwrite_a_newer_one(stale: User) -> None:
    passwords.reset(User.objects.get(pk=stale.pk), NEW_PASSWORD)
    stale.set_password("an attacker's passphrase")
    with pytest.raises(AccountChanged):
        stale.save()
    assert User.objects.get(pk=stale.pk).check_password(NEW_PASSWORD)


def test_a_password_can_be_set_after_bulk_update(stale: User) -> None:
    stale.set_password("first of two passphrases")
    User.objects.bulk_update([stale], ["password"])
    stale.set_password(NEW_PASSWORD)
    stale.save()
    assert User.objects.get(pk=stale.pk).check_password(NEW_PASSWORD)


def test_a_stale_sign_in_stays_ended(sign_in: SignIn) -> None:
    stale = SignIn.objects.get(pk=sign_in.pk)
    sign_in.end(SignIn.Reason.SIGNED_OUT)
    stale.name = "phone"
    stale.save()
    fresh = SignIn.objects.get(pk=sign_in.pk)
    assert (fresh.name, fresh.end_reason) == ("phone", SignIn.Reason.SIGNED_OUT)
    assert fresh.ended_at


def test_the_first_end_of_a_sign_in_is_kept(sign_in: SignIn) -> None:
    stale = SignIn.objects.get(pk=sign_in.pk)
    sign_in.end(SignIn.Reason.TOKEN_REUSED)
    stale.ended_at, stale.end_reason = timezone.now(), SignIn.Reason.SIGNED_OUT
    with pytest.raises(ValueError, match="an end is final"):
        stale.save()
    assert SignIn.objects.get(pk=sign_in.pk).end_reason == SignIn.Reason.TOKEN_REUSED


def test_the_end_of_a_sign_in_cannot_be_undone(sign_in: SignIn) -> None:
    sign_in.end(SignIn.Reason.SIGNED_OUT)
    ended = SignIn.objects.get(pk=sign_in.pk)
    ended.ended_at = None
    with pytest.raises(ValueError, match="an end is final"):
        ended.save()
    with pytest.raises(ValueError, match="an end is final"):
        SignIn.objects.filter(pk=sign_in.pk).update(ended_at=None)


@pytest.mark.parametrize(
    "decision",
    [{"is_active": False}, {"is_staff": False}, {"email": "decided@example.org"}, {"bound_tokens_only": True}],
)
def test_an_open_admin_page_restores_no_old_value(
    ann: User, staff: User, browser_of: Any, decision: dict[str, Any]
) -> None:
    User.objects.filter(pk=ann.pk).update(is_staff=True)
    desk, url = browser_of(staff), f"{USERS}{ann.pk}/change/"
    fields = Fields("user_form")
    fields.feed(desk.get(url).content.decode())
    User.objects.filter(pk=ann.pk).update(**decision)
    answer = desk.post(url, fields.values | {"first_name": "Ann"})
    assert answer.status_code == 302, answer.content.decode()
    assert User.objects.filter(pk=ann.pk, first_name="Ann", **decision).exists()


def test_an_open_admin_page_restores_no_group(ann: User, staff: User, browser_of: Any) -> None:
    group = ann.groups.create(name="Buyers")
    desk, url = browser_of(staff), f"{USERS}{ann.pk}/change/"
    fields = Fields("user_form")
    fields.feed(desk.get(url).content.decode())
    ann.groups.remove(group)
    assert desk.post(url, fields.values | {"first_name": "Ann"}).status_code == 302
    assert not ann.groups.exists()


def test_staff_change_the_value_that_they_see(ann: User, staff: User, browser_of: Any) -> None:
    desk, url = browser_of(staff), f"{USERS}{ann.pk}/change/"
    fields = Fields("user_form")
    fields.feed(desk.get(url).content.decode())
    del fields.values["is_active"]
    assert desk.post(url, fields.values | {"is_staff": "on"}).status_code == 302
    assert User.objects.filter(pk=ann.pk, is_active=False, is_staff=True).exists()
