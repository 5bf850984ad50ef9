"""Races of second factors: a code, a step and the answer of a passkey are used once, however many nodes get them."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.db import connection

from accounts import starting
from accounts.factors import changes, totp
from accounts.models import AuthenticatorApp, Passkey, RecoveryCodeSet, SignIn, SignInRefused, UsedStep, User
from tests.conftest import ApiClient
from tests.second_factors import SECOND_STEP, add_app, add_passkey, password_step

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Runs the calls in threads that start together. Returns their results in order."""
    barrier, results = threading.Barrier(len(calls)), [None] * len(calls)

    def run(number: int) -> None:
        try:
            barrier.wait()
            results[number] = calls[number]()
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return results


def send(body: dict[str, Any], path: str = SECOND_STEP) -> Callable[[], int]:
    return lambda: ApiClient().post(path, body).status_code


@pytest.fixture
def hers(client_of: Any, ann: User) -> ApiClient:
    return client_of(ann)


def test_a_code_that_two_nodes_get_at_once_works_once(ann: User, password: str, hers: ApiClient) -> None:
    app, _codes = add_app(hers)
    steps = [password_step(ann, password)["step"] for _each in range(4)]
    code = app.code()
    statuses = at_once(*(send({"step": step, "code": code}) for step in steps))
    assert sorted(statuses) == [200, 401, 401, 401]


def test_a_code_that_two_nodes_have_matched_is_swapped_once(ann: User, hers: ApiClient) -> None:
    app, _codes = add_app(hers)
    row, same = (AuthenticatorApp.objects.get() for _node in range(2))
    step = totp.matching_step(row, app.code())
    assert step is not None
    assert [totp._swap_step(each, step) for each in (row, same)] == [True, False]


def test_a_recovery_code_that_two_nodes_get_at_once_works_once(ann: User, password: str, hers: ApiClient) -> None:
    _app, codes = add_app(hers)
    steps = [password_step(ann, password)["step"] for _each in range(3)]
    statuses = at_once(*(send({"step": step, "recovery_code": codes[0]}) for step in steps))
    assert sorted(statuses) == [200, 401, 401]


def test_a_step_that_is_finished_twice_at_once_starts_one_sign_in(ann: User, password: str, hers: ApiClient) -> None:
    _app, codes = add_app(hers)
    step = password_step(ann, password)["step"]
    statuses = at_once(*(send({"step": step, "recovery_code": code}) for code in codes[:3]))
    assert sorted(statuses) == [200, 400, 400]
    assert SignIn.objects.count() == 2


def test_the_answer_of_a_passkey_sent_twice_at_once_starts_one_sign_in(ann: User, hers: ApiClient) -> None:
    passkey = add_passkey(hers)
    UsedStep.objects.all().delete()
    options = ApiClient().post("/api/token/passkey/options/", {}).json()
    body = {"step": options["step"], "credential": passkey.get(options["publicKey"])}
    statuses = at_once(*(send(body, "/api/token/passkey/") for _node in range(3)))
    assert sorted(statuses) == [200, 400, 400]
    assert SignIn.objects.count() == 2


def test_two_first_factors_at_once_bring_one_set_of_recovery_codes(ann: User) -> None:
    apps = [changes.new_app(User.objects.get(pk=ann.pk))[0]]
    second = AuthenticatorApp(user=ann)
    totp.new_secret(second)
    second.save(force_insert=True)
    apps.append(second)

    def confirm(app: AuthenticatorApp) -> Callable[[], list[str]]:
        code = totp.HOTP(totp._decrypt(app), 6, totp.SHA1()).generate(int(totp.time.time()) // 30).decode()
        return lambda: changes.confirm_app(User.objects.get(pk=ann.pk), app.pk, code)

    results = at_once(*(confirm(app) for app in apps))
    assert sorted(map(len, results)) == [0, 10]
    assert RecoveryCodeSet.objects.count() == 1


def test_a_factor_added_while_a_sign_in_waits_refuses_it(ann: User, password: str, hers: ApiClient) -> None:
    verified = authenticate(username="ann", password=password)
    add_app(hers)
    Passkey.objects.all().delete()
    with pytest.raises(SignInRefused):
        starting.start(verified, SignIn.Kind.CLIENT)
