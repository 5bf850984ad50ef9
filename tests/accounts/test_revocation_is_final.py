"""Ended sign-ins stay ended: no change of users or rows restores them."""

from contextlib import suppress

import pytest
from django.db import transaction

from accounts.models import SignIn, User
from api.blocklist.models import Entry
from tests.accounts.ways_to_end import (
    deactivate_and_save,
    deactivate_by_bulk_update,
    deactivate_by_the_base_manager,
    deactivate_by_update,
    end_all,
    goes_to_sign_in,
    refresh,
    set_a_password_by_update,
)

pytestmark = pytest.mark.django_db


def reactivate_and_save(world):
    world.ann.is_active = True
    world.ann.save()


def reactivate_by_update(world):
    User.objects.filter(pk=world.ann.pk).update(is_active=True)


back_and_forth = pytest.mark.parametrize(
    ("away", "back"),
    [
        (deactivate_and_save, reactivate_and_save),
        (deactivate_by_update, reactivate_by_update),
        (deactivate_by_the_base_manager, reactivate_by_update),
        (deactivate_by_bulk_update, reactivate_and_save),
    ],
)


@back_and_forth
def test_reactivating_does_not_restore_a_browser(world, away, back):
    away(world)
    back(world)
    assert goes_to_sign_in(world.browser)


@back_and_forth
def test_reactivating_does_not_restore_an_access_token(world, away, back):
    away(world)
    back(world)
    assert world.client.get("/api/me/").status_code == 401


@back_and_forth
def test_reactivating_does_not_restore_a_refresh_token(world, away, back):
    away(world)
    back(world)
    assert refresh(world, world.client.refresh) == 401


@back_and_forth
def test_a_reactivated_user_can_sign_in(world, away, back):
    away(world)
    back(world)
    assert world.anonymous.sign_in("ann", world.password).status_code == 200
    assert world.anonymous.get("/api/me/").status_code == 200


def test_setting_the_old_password_again_restores_no_sign_in(world):
    old = world.ann.password
    set_a_password_by_update(world)
    User.objects.filter(pk=world.ann.pk).update(password=old)
    assert goes_to_sign_in(world.browser)
    assert (world.client.get("/api/me/").status_code, refresh(world, world.client.refresh)) == (401, 401)


def test_deleting_ended_sign_ins_restores_none(world):
    end_all(world)
    SignIn.objects.filter(user=world.ann).delete()
    assert goes_to_sign_in(world.browser)
    assert (world.client.get("/api/me/").status_code, refresh(world, world.client.refresh)) == (401, 401)


def delete_entries_by_queryset():
    Entry.objects.all().delete()


def delete_each_entry():
    for entry in Entry.objects.all():
        entry.delete()


@pytest.mark.parametrize("delete", [delete_entries_by_queryset, delete_each_entry])
def test_deleting_blocklist_entries_restores_no_sign_in(world, delete):
    end_all(world)
    # The change may be refused or have no effect; both are correct.
    with suppress(Exception), transaction.atomic():
        delete()
    assert world.client.get("/api/me/").status_code == 401


def test_a_new_user_of_the_same_name_does_not_inherit_tokens(world):
    world.ann.delete()
    User.objects.create_user("ann", "ann@example.org", world.password)
    assert world.client.get("/api/me/").status_code == 401


def test_a_new_user_of_the_same_id_does_not_inherit_tokens(world):
    pk = world.ann.pk
    world.ann.delete()
    User.objects.create_user("ann", "ann@example.org", world.password, pk=pk)
    assert world.client.get("/api/me/").status_code == 401


def test_a_new_user_of_the_same_id_does_not_inherit_a_browser(world):
    pk = world.ann.pk
    world.ann.delete()
    User.objects.create_user("ann", "ann@example.org", world.password, pk=pk)
    assert goes_to_sign_in(world.browser)
