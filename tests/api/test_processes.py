"""Concurrent requests to four worker processes on real stores."""

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from tests import servers
from tests.conftest import bearer, claims_of

PASSWORD = "violet anchor hums at dawn"


@pytest.fixture
def http(fleet: Any) -> Any:
    with httpx.Client(base_url=fleet.url, limits=httpx.Limits(max_connections=50), timeout=60) as client:
        yield client


@pytest.fixture
def username(http: httpx.Client) -> str:
    name = f"u{uuid4().hex[:12]}"
    answer = http.post("/api/register/", json={"username": name, "email": f"{name}@example.org", "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    return name


def sign_in(http: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
    return http.post("/api/token/", json={"username": name, "password": password})


def refresh(http: httpx.Client, token: str) -> httpx.Response:
    return http.post("/api/token/refresh/", json={"refresh": token})


def me(http: httpx.Client, access: str) -> int:
    return http.get("/api/me/", headers=bearer(access)).status_code


def concurrently(calls: list[Callable[[], Any]]) -> list[Any]:
    """Runs the calls concurrently and returns their results."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_twenty_concurrent_refreshes_get_the_same_successor(http: httpx.Client, username: str, fleet: Any) -> None:
    first = sign_in(http, username).json()["refresh"]
    answers = concurrently([lambda: refresh(http, first)] * 20)
    assert [answer.status_code for answer in answers] == [200] * 20
    assert len({answer.json()["refresh"] for answer in answers}) == 1
    living = (
        f"from accounts.models import SignIn; print(SignIn.objects.live().filter(user__username='{username}').count())"
    )
    assert fleet.shell(living).strip() == "1"


def test_an_acknowledged_end_is_effective_in_every_process(http: httpx.Client, username: str) -> None:
    tokens = sign_in(http, username).json()
    assert {me(http, tokens["access"]) for _ in range(20)} == {200}
    assert http.post("/api/token/blacklist/", json={"refresh": tokens["refresh"]}).status_code == 200
    assert set(concurrently([lambda: me(http, tokens["access"])] * 20)) == {401}


def test_no_token_of_a_session_outlives_a_sign_out_in_another_process(http: httpx.Client, username: str) -> None:
    """Twenty requests ask for a token of the session while one signs it out."""
    ours = {"Origin": str(http.base_url).rstrip("/")}
    signed_in = http.post("/api/session/", json={"username": username, "password": PASSWORD}, headers=ours)
    cookies = {name: value for name, value in signed_in.cookies.items() if name.startswith("sessionid")}
    http.cookies.clear()
    headers = ours | {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    assert {http.get("/api/session/", headers=headers).status_code for _ in range(8)} == {200}

    def mint() -> httpx.Response:
        return http.post("/api/session/token/", json={}, headers=headers)

    def end() -> httpx.Response:
        return http.delete("/api/session/", headers=headers)

    *minted, ended = concurrently([mint] * 20 + [end])
    assert ended.status_code == 204
    assert {each.status_code for each in minted} <= {200, 401}
    tokens = [each.json()["access"] for each in minted if each.status_code == 200]
    assert {me(http, token) for token in tokens} <= {401}
    assert {mint().status_code for _ in range(8)} == {401}


@pytest.mark.parametrize("round", range(5))
def test_tokens_of_a_concurrent_refresh_do_not_survive_the_end(http: httpx.Client, username: str, round: int) -> None:
    tokens = sign_in(http, username).json()
    answers = concurrently(
        [lambda: refresh(http, tokens["refresh"])] * 6
        + [lambda: http.post("/api/token/blacklist/", json={"refresh": tokens["refresh"]})]
    )
    minted = [answer.json() for answer in answers[:-1] if answer.status_code == 200] + [tokens]
    assert {me(http, each["access"]) for each in minted} == {401}
    assert {refresh(http, each["refresh"]).status_code for each in minted} == {401}


def test_no_sign_in_with_the_old_password_survives_its_change(http: httpx.Client, username: str) -> None:
    keeper = sign_in(http, username).json()
    change = {"old_password": PASSWORD, "new_password": "quiet copper lantern drifts"}
    answers = concurrently(
        [lambda: sign_in(http, username)] * 6
        + [lambda: http.post("/api/password/change/", json=change, headers=bearer(keeper["access"]))]
    )
    assert answers[-1].status_code == 204
    minted = [answer.json() for answer in answers[:-1] if answer.status_code == 200]
    assert {me(http, each["access"]) for each in minted} <= {401}
    assert {refresh(http, each["refresh"]).status_code for each in minted} <= {401}
    assert me(http, keeper["access"]) == 200


def test_a_deactivation_elsewhere_is_effective_in_every_worker(http: httpx.Client, username: str, fleet: Any) -> None:
    tokens = sign_in(http, username).json()
    fleet.shell(f"from accounts.models import User; User.objects.filter(username='{username}').update(is_active=False)")
    assert {me(http, tokens["access"]) for _ in range(20)} == {401}
    assert refresh(http, tokens["refresh"]).status_code == 401
    assert sign_in(http, username).status_code == 401


AFTER_SIGNAL = """
import sys
from contextlib import suppress
from accounts import passwords
from accounts.models import AccountChanged, User
them = User.objects.filter(username="{name}")
user = them.get()
print("ready", flush=True)
sys.stdin.readline()
# A change that loses the race raises AccountChanged.
with suppress(AccountChanged):
    {change}
"""


@contextmanager
def after_signal(fleet: Any, name: str, change: str) -> Iterator[Callable[[], None]]:
    """Starts a process that waits; yields a function that makes it run the statement."""
    code = AFTER_SIGNAL.format(name=name, change=change)
    command = [sys.executable, "manage.py", "shell", "--verbosity=0", "--command", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=servers.ROOT, env=os.environ | fleet.env, **pipes) as process:
        assert process.stdout.readline() == "ready\n"

        def go() -> None:
            process.communicate("go\n", timeout=60)
            assert process.returncode == 0

        yield go


ENDS = """
from accounts.models import SecurityEvent
ends = SecurityEvent.objects.filter(sid__in={sids}, type__in=["signed_out", "sign_in_ended"])
print(*sorted(str(sid) for sid in ends.values_list("sid", flat=True)))
"""


def test_no_token_survives_concurrent_ends_and_refreshes(http: httpx.Client, username: str, fleet: Any) -> None:
    first, second = sign_in(http, username).json(), sign_in(http, username).json()
    with (
        after_signal(fleet, username, "them.update(is_active=False)") as deactivate,
        after_signal(fleet, username, "passwords.change(user, 'quiet copper lantern drifts')") as change_password,
        after_signal(fleet, username, "them.delete()") as delete,
    ):
        answers = concurrently(
            [lambda: refresh(http, first["refresh"])] * 3
            + [lambda: refresh(http, second["refresh"])] * 3
            + [lambda: sign_in(http, username)] * 2
            + [lambda: http.post("/api/token/blacklist/", json={"refresh": first["refresh"]})]
            + [deactivate, change_password, delete]
        )
    assert {answer.status_code for answer in answers if answer} <= {200, 401}
    minted = [answer.json() for answer in answers if answer and "access" in answer.json()] + [first, second]
    assert {me(http, each["access"]) for each in minted} == {401}
    assert {refresh(http, each["refresh"]).status_code for each in minted} == {401}
    assert sign_in(http, username).status_code == 401
    sids = {claims_of(each["access"])["sid"] for each in minted}
    assert fleet.shell(ENDS.format(sids=sids)).split() == sorted(sids)


SMUGGLED = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
TWO_BOUNDARIES = {
    "both a length and chunks": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": f"Content-Length: 0\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n",
    "a length that is none": "Content-Length: +0\r\n\r\n",
    "chunks spelled oddly": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("framing", TWO_BOUNDARIES.values(), ids=TWO_BOUNDARIES)
def test_a_request_with_an_ambiguous_length_is_refused(fleet: Any, framing: str) -> None:
    address = urlsplit(fleet.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(f"POST /api/token/verify/ HTTP/1.1\r\nHost: localhost\r\n{framing}{SMUGGLED}".encode())
        answer = connection.makefile("rb").read()
    assert re.findall(rb"HTTP/1.1 (\d\d)", answer) in ([b"40"], [b"50"])
    assert b'"up"' not in answer
    # The response does not reveal the version of the server.
    assert not re.search(rb"gunicorn/|Python", answer)
