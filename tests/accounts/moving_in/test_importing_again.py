"""A later run of import_users imports no user twice, and leaves what users changed meanwhile."""

import io
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone

from accounts.models import MovedInUser, SignIn, User
from tests import old_site
from tests.conftest import ApiClient
from tests.old_site import PASSWORD, USER, live_sign_ins, users

pytestmark = [pytest.mark.django_db, pytest.mark.long]


def test_another_run_imports_nobody_twice(run):
    run(users())
    User.objects.filter(pk=8).update(username="dave-renamed")
    assert "2 users: 2 imported before, 0 left out, 0 to import" in run(users())
    run([*users(), USER | {"id": 9, "username": "erin", "email": "erin@old.example"}])
    assert sorted(User.objects.values_list("username", flat=True)) == ["carol", "dave-renamed", "erin"]


def test_new_accounts_get_ids_after_the_imported_ones(run, password):
    run(users(id=5000))
    assert User.objects.create_user("new", "new@example.org", password).pk > 5000


def test_no_id_of_a_deleted_account_is_given_again(run, password):
    run(users(id=5000))
    User.objects.get(pk=5000).delete()
    run([USER | {"id": 9, "username": "erin", "email": ""}])
    assert User.objects.create_user("new", "new@example.org", password).pk > 5000


def test_a_later_run_imports_no_deleted_user_again(run):
    run(users())
    User.objects.get(pk=8).delete()
    assert "2 users: 2 imported before" in run(users())
    assert not User.objects.filter(pk=8).exists()


def test_rows_of_deleted_users_are_pruned_later(run, clock):
    run(users())
    User.objects.get(pk=8).delete()
    assert sum(MovedInUser.objects.prune()) == 0
    clock.shift(settings.SIGN_IN_MAX + timedelta(days=1))
    assert sum(MovedInUser.objects.prune()) == 1
    assert [each.pk for each in MovedInUser.objects.all()] == ["7"]


def test_a_later_run_continues_nothing_after_a_sign_in_ended(run, request):
    # A present hash, which the sign-in does not replace.
    rows = users(password=make_password(PASSWORD))
    run(rows)
    ApiClient().sign_in("dave", PASSWORD)
    SignIn.objects.get().end(SignIn.Reason.SIGNED_OUT)
    request.getfixturevalue("old_tokens")
    run(rows)
    assert live_sign_ins() == {(7, "Previous site")}


def test_a_later_run_leaves_ended_sign_ins_and_new_passwords(run, old_tokens):
    run(users())
    carol, dave = User.objects.order_by("pk")
    SignIn.objects.get(user=carol).end(SignIn.Reason.ENDED_BY_USER)
    dave.set_password("a quite different passphrase")
    dave.save()
    run(users())
    assert live_sign_ins() == set()
    assert User.objects.get(pk=8).password == dave.password


def test_a_later_run_continues_sign_ins_of_unchanged_users(run):
    run(users())
    User.objects.get(pk=8).set_password("x")
    User.objects.filter(pk=8).update(password="md5$other$hash")
    with override_settings(LEGACY_JWT_KEY=old_site.JWT_KEY, LEGACY_JWT_UNTIL=timezone.now() + timedelta(days=9)):
        run(users())
        run(users())
    assert [each.user_id for each in SignIn.objects.all()] == [7]
    assert MovedInUser.objects.get(pk=7).sign_in_id == SignIn.objects.get().pk


def test_nobody_who_moved_in_is_pruned(run, clock):
    rows = [USER | {"id": 100 + n, "username": f"u{n}", "email": f"u{n}@old.example"} for n in range(20)]
    run(rows)
    clock.shift(timedelta(days=400))
    call_command("prune", stdout=io.StringIO())
    assert User.objects.count() == 20


def test_an_import_needs_few_statements(run, django_assert_max_num_queries):
    rows = [USER | {"id": 100 + n, "username": f"u{n}", "email": f"u{n}@old.example"} for n in range(400)]
    with django_assert_max_num_queries(40):
        run(rows)
