"""A change that ends sign-ins raises the user's generation in its own UPDATE; no other change does."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import starting
from accounts.models import SignIn, SignInRefused, User
from tests.conftest import ApiClient

pytestmark = pytest.mark.django_db


def save(user: User, **changes: Any) -> None:
    for name, value in changes.items():
        setattr(user, name, value)
    user.save()


def update(user: User, **changes: Any) -> None:
    User.objects.filter(pk=user.pk).update(**changes)


def bulk_update(user: User, **changes: Any) -> None:
    for name, value in changes.items():
        setattr(user, name, value)
    User.objects.bulk_update([user], list(changes))


ways = pytest.mark.parametrize("change", [save, update, bulk_update])


@ways
@pytest.mark.parametrize("changes", [{"password": "md5$a$b"}, {"is_active": False}, {"is_service": True}])
def test_a_change_that_ends_sign_ins_raises_the_generation_once(
    ann: User, change: Callable[..., None], changes: dict[str, Any]
) -> None:
    before = User.objects.get(pk=ann.pk).generation
    with CaptureQueriesContext(connection) as captured:
        change(ann, **changes)
    updates = [each["sql"] for each in captured if each["sql"].startswith('UPDATE "accounts_user"')]
    assert len([sql for sql in updates if next(iter(changes)) in sql.split("WHERE")[0]]) == 1
    assert all("generation" in sql for sql in updates)
    assert User.objects.get(pk=ann.pk).generation == before + 1


@ways
def test_the_same_values_raise_no_generation(ann: User, hers: ApiClient, change: Callable[..., None]) -> None:
    before = User.objects.get(pk=ann.pk)
    change(ann, password=before.password, is_active=True, is_service=False)
    assert User.objects.get(pk=ann.pk).generation == before.generation
    assert hers.get("/api/me/").status_code == 200


def test_reactivation_raises_no_generation(ann: User) -> None:
    update(ann, is_active=False)
    before = User.objects.get(pk=ann.pk)
    save(before, is_active=True)
    assert User.objects.get(pk=ann.pk).generation == before.generation


@ways
def test_an_account_that_becomes_a_service_is_signed_out(
    ann: User, hers: ApiClient, change: Callable[..., None]
) -> None:
    change(ann, is_service=True)
    assert hers.get("/api/me/").status_code == 401
    assert hers.renew().status_code == 401
    assert set(SignIn.objects.values_list("end_reason", flat=True)) == {SignIn.Reason.ENDED_BY_STAFF}


def test_a_stale_instance_cannot_sign_in_after_its_save(ann: User) -> None:
    stale = User.objects.get(pk=ann.pk)
    User.objects.filter(pk=ann.pk).start_generation()
    save(stale, password=make_password("quiet copper lantern drifts"))
    with pytest.raises(SignInRefused):
        starting.start(stale, SignIn.Kind.CLIENT)
    save(stale, first_name="Ann")
    with pytest.raises(SignInRefused):
        starting.start(stale, SignIn.Kind.CLIENT)
