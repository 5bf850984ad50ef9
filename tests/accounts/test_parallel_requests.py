"""Parallel guesses, ends of all sign-ins and prune commands, on four worker processes and real stores."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from accounts import rate_limits
from tests import servers

PASSWORD = "violet anchor hums at dawn"
WRONG = "not the right passphrase at all"


@pytest.fixture
def http(fleet: Any) -> Any:
    # Other tests have sent guesses and sign-ups from the same address.
    fleet.shell("from accounts.models import AttemptCounter; AttemptCounter.objects.all().delete()")
    with httpx.Client(base_url=fleet.url, limits=httpx.Limits(max_connections=50), timeout=60) as client:
        yield client


@pytest.fixture
def people(http: httpx.Client) -> list[str]:
    names = [f"u{uuid4().hex[:12]}" for _ in range(4)]
    for name in names:
        form = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
        assert http.post("/api/register/", json=form).status_code == 201
    return names


def sign_in(http: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
    return http.post("/api/token/", json={"username": name, "password": password})


def me(http: httpx.Client, access: str) -> int:
    return http.get("/api/me/", headers={"Authorization": f"Bearer {access}"}).status_code


def refresh(http: httpx.Client, token: str) -> int:
    return http.post("/api/token/refresh/", json={"refresh": token}).status_code


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """Runs the calls in threads with a common start."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_parallel_guesses_do_not_exceed_the_limit(http: httpx.Client) -> None:
    name = f"u{uuid4().hex[:12]}"
    answers = at_once([lambda: sign_in(http, name, WRONG).status_code] * 30)
    assert set(answers) == {401, 429}
    # Waits of one and two seconds may have expired meanwhile.
    assert answers.count(401) <= rate_limits.LIMITS[rate_limits.Kind.PAIR].free_attempts + 2


@pytest.mark.long
@pytest.mark.named
def test_a_flood_of_failed_sign_ins_does_not_block_clients(http: httpx.Client, people: list[str]) -> None:
    access = sign_in(http, people[0]).json()["access"]
    names = [f"u{uuid4().hex[:12]}" for _ in range(10)]
    with ThreadPoolExecutor(30) as pool:
        flood = [pool.submit(sign_in, http, names[number % len(names)], WRONG) for number in range(500)]
        waits = []
        while not all(each.done() for each in flood):
            started = time.perf_counter()
            assert me(http, access) == 200
            waits.append(time.perf_counter() - started)
    answers = [each.result().status_code for each in flood]
    # The address has a limit of 100, and each name has its own limit.
    assert answers.count(401) <= rate_limits.LIMITS[rate_limits.Kind.ADDRESS].free_attempts + 20
    assert set(answers) == {401, 429}
    assert sorted(waits)[len(waits) // 2] < 5


def test_sign_ins_requested_before_an_end_of_all_are_ended(http: httpx.Client, people: list[str], fleet: Any) -> None:
    asked: list[tuple[float, dict[str, str]]] = []
    over = threading.Event()

    def keep_signing_in(name: str) -> None:
        while not over.is_set():
            started = time.monotonic()
            answer = sign_in(http, name)
            if answer.status_code == 200:
                asked.append((started, answer.json()))

    with ThreadPoolExecutor(len(people)) as pool:
        for name in people:
            pool.submit(keep_signing_in, name)
        deadline = time.monotonic() + 60
        while len(asked) <= len(people) and time.monotonic() < deadline:
            time.sleep(0.1)
        called = time.monotonic()
        servers.manage(fleet.env, "end_sign_ins", "--all")
        time.sleep(1)
        over.set()
    before = [pair for started, pair in asked if started < called]
    assert len(before) > len(people)
    assert {me(http, pair["access"]) for pair in before} == {401}
    assert {refresh(http, pair["refresh"]) for pair in before} == {401}
    # Each pair of tokens is valid in both ways or in none.
    for _started, pair in asked:
        assert (me(http, pair["access"]), refresh(http, pair["refresh"])) in {(200, 200), (401, 401)}
    assert me(http, sign_in(http, people[0]).json()["access"]) == 200


@pytest.mark.long
def test_two_prune_commands_can_run_in_parallel(http: httpx.Client, people: list[str], fleet: Any) -> None:
    age = (
        "from datetime import timedelta; from django.utils import timezone; from accounts.models import SignIn;"
        "from django.db.models import QuerySet;"
        f"QuerySet.update(SignIn.objects.filter(user__username='{people[0]}'),"
        "ended_at=timezone.now() - timedelta(days=31))"
    )
    tokens = [sign_in(http, people[0]).json() for _ in range(3)]
    kept = sign_in(http, people[1]).json()
    fleet.shell(age)
    at_once([lambda: servers.manage(fleet.env, "prune")] * 2)
    left = f"from accounts.models import SignIn; print(SignIn.objects.filter(user__username='{people[0]}').count())"
    assert fleet.shell(left).strip() == "0"
    assert {refresh(http, each["refresh"]) for each in tokens} == {401}
    assert me(http, kept["access"]) == 200
