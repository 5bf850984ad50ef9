"""Races between an end and another request: the end always wins."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.db import connection, transaction

from accounts import ending, passwords, starting
from accounts.models import RefreshRefused, SignIn, SignInRefused, User
from api.tokens import RefreshToken

pytestmark = pytest.mark.django_db


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def change_password(user: User) -> None:
    passwords.change(User.objects.get(pk=user.pk), "quiet copper lantern drifts")


def end_everything(user: User) -> None:
    ending.end_all(user, SignIn.Reason.ENDED_BY_USER)


def delete(user: User) -> None:
    User.objects.filter(pk=user.pk).delete()


ENDS = pytest.mark.parametrize("end", [deactivate, change_password, end_everything, delete])


def start(user: User) -> SignIn:
    return starting.start(user, SignIn.Kind.CLIENT, idle_timeout=timedelta(days=1))


@ENDS
def test_a_sign_in_verified_before_the_end_is_refused(ann: User, password: str, end: Callable[[User], None]) -> None:
    verified = authenticate(username="ann", password=password)
    end(ann)
    with pytest.raises(SignInRefused):
        start(verified)


@ENDS
def test_a_refresh_that_read_its_sign_in_before_the_end_is_refused(ann: User, end: Callable[[User], None]) -> None:
    sign_in = start(ann)
    end(ann)
    assert not sign_in.swap_refresh_id(sign_in.refreshed_at)
    with pytest.raises(RefreshRefused):
        SignIn.objects.rotate(RefreshToken.for_sign_in(sign_in).get_sign_in, sign_in.refresh_id, sign_in.refreshed_at)


def test_a_password_check_before_a_deactivation_is_refused(ann: User, password: str) -> None:
    verified = authenticate(username="ann", password=password)
    deactivate(ann)
    User.objects.filter(pk=ann.pk).update(is_active=True)
    with pytest.raises(SignInRefused):
        start(verified)


def test_an_upgraded_hash_ends_no_sign_in(ann: User, password: str, settings: Any) -> None:
    sign_in = start(ann)
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
        "django.contrib.auth.hashers.MD5PasswordHasher",
    ]
    assert authenticate(username="ann", password=password).password.startswith("pbkdf2_sha256$")
    assert SignIn.objects.select_related("user").get(pk=sign_in.pk).is_live()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("end", [deactivate, change_password, end_everything])
def test_a_sign_in_waits_for_a_running_end_and_is_refused(
    ann: User, password: str, end: Callable[[User], None]
) -> None:
    verified = authenticate(username="ann", password=password)
    outcome: list[Any] = []

    def sign_in() -> None:
        try:
            outcome.append(start(verified))
        except SignInRefused as refusal:
            outcome.append(refusal)
        finally:
            connection.close()

    with transaction.atomic():
        end(ann)
        thread = threading.Thread(target=sign_in)
        thread.start()
        thread.join(timeout=0.5)
        assert thread.is_alive(), "it did not wait for the row that the end holds"
    thread.join(timeout=10)
    assert isinstance(outcome[0], SignInRefused)
    assert not SignIn.objects.live().exists()


@pytest.mark.django_db(transaction=True)
def test_an_end_waits_for_a_running_sign_in_and_ends_it(ann: User) -> None:
    def end() -> None:
        deactivate(ann)
        connection.close()

    with transaction.atomic():
        start(ann)
        thread = threading.Thread(target=end)
        thread.start()
        thread.join(timeout=0.5)
        assert thread.is_alive(), "it did not wait for the row that the sign-in holds"
    thread.join(timeout=10)
    assert not SignIn.objects.live().exists()
