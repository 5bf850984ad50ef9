"""Clients that keep their connections open: they delay no request, and get complete responses."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import pytest

from project import closing
from tests import servers

pytestmark = [pytest.mark.once, pytest.mark.long]

HEAD = b" HTTP/1.1\r\nHost: localhost\r\n"
REQUESTS = {
    "it asks to close": b"GET /health/live" + HEAD + b"Connection: close\r\n\r\n",
    "it says nothing of the connection": b"GET /health/live" + HEAD + b"\r\n",
    "it speaks HTTP/1.0": b"GET /health/live HTTP/1.0\r\nHost: localhost\r\n\r\n",
    "its request is malformed": b"GET\r\n\r\n",
    "its header is too large": b"GET /health/live" + HEAD + b"X: " + b"x" * 9000 + b"\r\n\r\n",
    "its body is not read": b"POST /health/live" + HEAD + b"Connection: close\r\nContent-Length: 9\r\n\r\nx",
}


class Client:
    def __init__(self, node: servers.Node) -> None:
        address = urlsplit(node.url)
        self.connection = socket.create_connection((address.hostname, address.port), timeout=30)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: object) -> None:
        self.connection.close()

    def send(self, request: bytes) -> None:
        # If the server refuses before the whole body was sent, the response is still readable.
        with suppress(OSError):
            self.connection.sendall(request)

    def answer(self) -> bytes:
        return self.connection.recv(4096)


@pytest.fixture(scope="module", params=["--threads=1", "--threads=4"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Node]:
    env = {"DEBUG": "true", "DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('stay') / 'db.sqlite3'}"}
    with servers.node(env, workers=2, args=[request.param]) as node:
        yield node


def next_wait(node: servers.Node) -> float:
    started = time.monotonic()
    with Client(node) as client:
        client.send(REQUESTS["it asks to close"])
        assert client.answer().startswith(b"HTTP/1.1 200")
    return time.monotonic() - started


@pytest.mark.parametrize("request_sent", REQUESTS.values(), ids=REQUESTS)
def test_eight_open_connections_delay_no_request(node: servers.Node, request_sent: bytes) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(node)) for _ in range(8)]
        for client in clients:
            client.send(request_sent)
        assert all(client.answer().startswith(b"HTTP/1.") for client in clients)
        # With gunicorn's default, two workers are blocked for eight seconds.
        assert next_wait(node) < 1.5


def test_excess_open_connections_are_closed_at_once(node: servers.Node) -> None:
    with ExitStack() as stack:
        for _ in range(2 * closing.MAX_WAITING_CONNECTIONS + 50):
            client = stack.enter_context(Client(node))
            client.send(REQUESTS["it asks to close"])
            assert client.answer().startswith(b"HTTP/1.1 200")
        assert next_wait(node) < 1.5


def test_a_response_arrives_even_if_the_body_was_not_read(node: servers.Node) -> None:
    """An immediate close would reset the connection and lose the response."""
    body = b"x" * 300_000
    request = b"POST /health/live" + HEAD + b"Connection: close\r\nContent-Length: 300000\r\n\r\n"
    for _ in range(20):
        with Client(node) as client:
            client.send(request)
            client.send(body)
            assert client.answer().startswith(b"HTTP/1.1 405")
