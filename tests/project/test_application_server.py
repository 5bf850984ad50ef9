"""What the project needs of its application server: limits, framing, signals, timeouts (project/README.md)."""

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests import servers

pytestmark = [pytest.mark.once, pytest.mark.long]

PROXY, PROMETHEUS = "127.0.0.1", "192.0.2.77"
HEAD = " HTTP/1.1\r\nHost: localhost\r\n"
CLOSE = "Connection: close\r\n\r\n"
# Of gunicorn: a worker without a heartbeat for this time is replaced.
TIMEOUT_SECONDS = 2


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    env = {
        "DEBUG": "true",
        "DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('server') / 'db.sqlite3'}",
        "TRUSTED_PROXIES": PROXY,
        "METRICS_ADDRESSES": PROMETHEUS,
    }
    servers.manage(env, "migrate", "--verbosity=0")
    return env


@pytest.fixture(scope="module")
def running(env: dict[str, str]) -> Iterator[servers.Node]:
    with servers.node(env, workers=1) as node:
        yield node


@pytest.fixture
def fresh(env: dict[str, str]) -> Iterator[servers.Node]:
    """For tests that disturb it."""
    with servers.node(env, workers=2, args=[f"--timeout={TIMEOUT_SECONDS}"]) as node:
        yield node


def connect(node: servers.Node) -> socket.socket:
    address = urlsplit(node.url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


def status_of(node: servers.Node, request: str) -> int:
    """Returns 0 if the connection is refused, or closed without a response."""
    with suppress(OSError), connect(node) as connection:
        # If the server refuses before it has read everything, the response is still readable.
        with suppress(OSError):
            connection.sendall(request.encode())
        return int(connection.makefile("rb").readline().split()[1])
    return 0


def live(node: servers.Node) -> int:
    return status_of(node, f"GET /health/live{HEAD}{CLOSE}")


def workers_of(node: servers.Node, number: int = 2) -> list[psutil.Process]:
    """Waits for all workers: the first one answers before the others are forked."""
    servers.wait_until(lambda: len(_alive_children(node)) >= number)
    return _alive_children(node)


def _alive_children(node: servers.Node) -> list[psutil.Process]:
    return [each for each in psutil.Process(node.process.pid).children() if is_alive(each)]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# Headers


@pytest.mark.parametrize(("name", "status"), [("X-Forwarded-For", 200), ("X_Forwarded_For", 403)])
def test_a_header_with_underscores_sets_no_address(running: servers.Node, name: str, status: int) -> None:
    """In WSGI both have one name, and many proxies set only the one with hyphens."""
    assert status_of(running, f"GET /metrics{HEAD}{name}: {PROMETHEUS}\r\n{CLOSE}") == status


REFUSED = {
    "two hosts": ("GET /health/live", "Host: evil.example\r\n", 400),
    "a header of 9 kB": ("GET /health/live", f"X: {'x' * 9000}\r\n", 431),
    "150 headers": ("GET /health/live", "".join(f"X{number}: x\r\n" for number in range(150)), 431),
    "a URL of 8 kB": (f"GET /{'x' * 8000}", "", 414),
    "a line feed in a header": ("GET /health/live", "X: x\nY: y\r\n", 400),
    "a space before the colon": ("GET /health/live", "X : x\r\n", 400),
}


@pytest.mark.parametrize(("line", "header", "status"), REFUSED.values(), ids=REFUSED)
def test_a_malformed_or_oversized_head_is_refused(running: servers.Node, line: str, header: str, status: int) -> None:
    assert status_of(running, f"{line}{HEAD}{header}{CLOSE}") == status


# Processes


def test_a_terminated_node_completes_its_requests(fresh: servers.Node) -> None:
    body = '{"username": "ann", "password": "wrong"}'
    # The password hash takes about 0.2 s.
    with connect(fresh) as connection:
        head = f"POST /api/token/{HEAD}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{CLOSE}"
        connection.sendall((head + body).encode())
        time.sleep(0.1)
        fresh.process.terminate()
        assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 401")
    assert fresh.process.wait(servers.STOP_SECONDS) == 0


def test_a_reload_refuses_no_request(fresh: servers.Node) -> None:
    before = workers_of(fresh)
    fresh.process.send_signal(signal.SIGHUP)
    statuses = set()
    deadline, replaced = time.monotonic() + 30, 0.0
    # Until a moment after the last old worker has ended.
    while time.monotonic() < (replaced + 1 if replaced else deadline):
        statuses.add(live(fresh))
        if not replaced and not any(map(is_alive, before)):
            replaced = time.monotonic()
    assert statuses == {200}
    assert replaced


def test_a_killed_worker_is_replaced(fresh: servers.Node) -> None:
    killed, _other = workers_of(fresh)
    killed.kill()
    servers.wait_until(lambda: len(_alive_children(fresh)) == 2)


def test_a_worker_without_heartbeat_is_replaced(fresh: servers.Node) -> None:
    stopped, _other = workers_of(fresh)
    stopped.send_signal(signal.SIGSTOP)
    servers.wait_until(lambda: not is_alive(stopped))
    servers.wait_until(lambda: len(_alive_children(fresh)) == 2)


def test_workers_end_after_their_parent_was_killed(fresh: servers.Node) -> None:
    workers = workers_of(fresh)
    fresh.process.kill()
    fresh.process.wait()
    servers.wait_until(lambda: not any(map(is_alive, workers)))


UNFINISHED = {
    "nothing": "",
    "half a header": "GET /health/live HTTP/1.1\r\nHost: loc",
    "half a body": f"POST /api/token/{HEAD}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{{",
}


@pytest.mark.parametrize("sent", UNFINISHED.values(), ids=UNFINISHED)
def test_a_client_that_stops_sending_blocks_only_for_the_timeout(fresh: servers.Node, sent: str) -> None:
    """A proxy that reads requests completely protects from such clients; without one a worker is replaced."""
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connect(fresh)).sendall(sent.encode())
        servers.wait_until(lambda: live(fresh) == 200, seconds=29)


# Several processes of one node


def test_the_number_of_workers_is_read_from_the_environment(env: dict[str, str], tmp_path: Path) -> None:
    class AsDeployed(servers.Node):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.command = [each for each in self.command if "--workers" not in str(each)]

    with servers.running(AsDeployed(tmp_path, env | {"WEB_CONCURRENCY": "3"}, 1, ())) as node:
        assert len(workers_of(node, 3)) == 3
