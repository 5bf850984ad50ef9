"""Server-sent events and websockets under an ASGI server: they end within a second of the end of their sign-in."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import psycopg
import pytest

from api import streams
from tests import servers
from tests.plugins import optional_tools

pytestmark = [pytest.mark.once, pytest.mark.long]

PASSWORD = "violet anchor hums at dawn"
LIMIT_SECONDS = 1.0
MODES = pytest.mark.parametrize("mode", ["session", "token"])


class Stand:
    """An ASGI node with its own stores, and the users of a test."""

    def __init__(self, node: servers.Node, env: dict[str, str]) -> None:
        self.node, self.env = node, env
        self.count = 0

    def person(self) -> "Person":
        self.count += 1
        name = f"user{self.count}"
        answer = httpx.post(
            f"{self.node.url}/api/register/",
            json={"username": name, "email": f"{name}@example.org", "password": PASSWORD},
            timeout=30,
            trust_env=False,
        )
        assert answer.status_code == 201, answer.text
        return Person(self.node.url, name)


class Person:
    """A user with a session, and an access token of the same sign-in."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        body = {"username": name, "password": PASSWORD}
        self.name = name
        self.http = httpx.Client(base_url=url, timeout=30, trust_env=False)
        assert self.http.post("/api/session/", json=body, headers={"origin": url}).status_code == 200
        self.access = self.http.post("/api/session/token/", json={}, headers={"origin": url}).json()["access"]

    @property
    def cookie(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.http.cookies.items())}

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access}"}

    def credentials(self, mode: str) -> dict[str, str]:
        return self.cookie if mode == "session" else self.bearer

    def end_all(self) -> float:
        """Ends the sign-in. Returns the time before the request was sent."""
        started = time.monotonic()
        answer = self.http.post("/api/sign-ins/end-all/", headers={"origin": self.url})
        assert answer.status_code == 200, answer.text
        return started


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    try:
        import websockets  # noqa: F401
    except ImportError:
        optional_tools.skip_or_fail("websockets is missing: pip install -r tests/requirements.txt")
    name = f"streams_{servers.free_port()}"
    with servers.valkey() as valkey:
        env = {
            "DATABASE_URL": servers.create_database(os.environ["DATABASE_URL"], name),
            "REDIS_URL": valkey.url,
            "DEBUG": "true",
            "DJANGO_SETTINGS_MODULE": "tests.sample_app.settings",
            "TOKEN_RATE": "",
            "ACCOUNT_RATE": "10000/hour",
        }
        servers.manage(env, "migrate", "--verbosity=0")
        with servers.node(env, 2, ["--worker-class=asgi"], "tests.sample_app.asgi") as node:
            yield Stand(node, env)


@contextmanager
def events_of(person: Person, mode: str) -> Iterator[Iterator[str]]:
    """Yields the lines of a stream of server-sent events."""
    with (
        httpx.Client(timeout=10, trust_env=False) as http,
        http.stream("GET", f"{person.url}/api/stream/", headers=person.credentials(mode)) as answer,
    ):
        assert answer.status_code == 200
        yield (line for line in answer.iter_lines() if line)


@contextmanager
def socket_of(person: Person, headers: dict[str, str]) -> Iterator[Any]:
    from websockets.sync.client import connect

    address = f"{person.url.replace('http', 'ws')}/ws/notes/"
    with connect(address, additional_headers=headers, proxy=None) as socket:
        yield socket


def refusal_of(person: Person, headers: dict[str, str]) -> int:
    """Returns the status of a handshake that is refused."""
    from websockets.exceptions import InvalidStatus

    with pytest.raises(InvalidStatus) as refused, socket_of(person, headers):
        pass
    return int(refused.value.response.status_code)


@MODES
def test_events_end_with_their_sign_in(stand: Stand, mode: str) -> None:
    person = stand.person()
    with events_of(person, mode) as lines:
        assert [next(lines) for _event in range(8)] == [f"data: {number}" for number in range(8)]
        started = person.end_all()
        for _line in lines:
            pass
        assert time.monotonic() - started < LIMIT_SECONDS


@MODES
def test_a_websocket_ends_with_its_sign_in(stand: Stand, mode: str) -> None:
    from websockets.exceptions import ConnectionClosed

    person = stand.person()
    with socket_of(person, person.credentials(mode)) as socket:
        for word in ("hello", "again"):
            time.sleep(0.6)
            socket.send(word)
            assert socket.recv(timeout=5) == f"{person.name}: {word}"
        started = person.end_all()
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=10)
        assert time.monotonic() - started < LIMIT_SECONDS
        assert closed.value.rcvd.code == streams.ENDED


def test_a_stream_ends_with_its_sign_in_only(stand: Stand) -> None:
    person, other = stand.person(), stand.person()
    with events_of(person, "session") as lines:
        other.end_all()
        assert [next(lines) for _event in range(8)][-1] == "data: 7"


def test_streams_end_after_raw_sql(stand: Stand) -> None:
    person = stand.person()
    with events_of(person, "session") as lines:
        next(lines)
        started = time.monotonic()
        with psycopg.connect(stand.env["DATABASE_URL"]) as connection:
            connection.execute("UPDATE accounts_user SET is_active = false WHERE username = %s", [person.name])
        for _line in lines:
            pass
        # Each process reads the blocklist within a second.
        assert time.monotonic() - started < 1 + LIMIT_SECONDS


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_a_page_of_another_site_opens_no_websocket(stand: Stand, origin: str) -> None:
    person = stand.person()
    assert refusal_of(person, person.cookie | {"Origin": origin}) == 403
    with socket_of(person, person.cookie | {"Origin": person.url}) as socket:
        socket.send("hello")
        assert socket.recv(timeout=5) == f"{person.name}: hello"


def test_refused_handshakes(stand: Stand) -> None:
    person = stand.person()
    assert refusal_of(person, {}) == 403
    assert refusal_of(person, {"Authorization": "Bearer x"}) == 403
    person.end_all()
    assert refusal_of(person, person.cookie) == 403
    assert refusal_of(person, person.bearer) == 403
    assert httpx.get(f"{person.url}/api/stream/", headers=person.bearer, trust_env=False).status_code == 401


def test_open_streams_hold_no_database_connection(stand: Stand) -> None:
    person = stand.person()
    before = connections_of(stand)
    with ExitStack() as stack:
        for _stream in range(10):
            next(stack.enter_context(events_of(person, "session")))
        assert connections_of(stand) <= before + 2


def connections_of(stand: Stand) -> int:
    with psycopg.connect(stand.env["DATABASE_URL"]) as connection:
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        [[found]] = connection.execute(count).fetchall()
    return int(found)
