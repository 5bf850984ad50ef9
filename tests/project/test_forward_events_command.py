"""`manage.py forward_events` as a process: killed, started twice, and with a receiver that is away."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from tests import servers
from tests.event_receivers import SyslogServer, stopped

pytestmark = [pytest.mark.once, pytest.mark.long]

RECORD = """
from accounts.models import SecurityEvent
for _ in range({number}): SecurityEvent.objects.record("signed_in", None)
"""
IDS = "from accounts.models import SecurityEvent as e; print(sorted(e.objects.values_list('pk', flat=True)))"


@pytest.fixture(scope="module")
def env() -> dict[str, str]:
    database_url = servers.create_database(os.environ["DATABASE_URL"], f"forward_{uuid4().hex}")
    env = {"DATABASE_URL": database_url, "DEBUG": "true"}
    servers.manage(env, "migrate", "--verbosity=0")
    return env


@pytest.fixture
def syslog() -> Iterator[SyslogServer]:
    with stopped(SyslogServer()) as server:
        yield server


@pytest.fixture
def forward(env: dict[str, str], syslog: SyslogServer) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Returns a function that starts the command."""
    started: list[subprocess.Popen[bytes]] = []
    url = f"syslog+tcp://127.0.0.1:{syslog.port}"

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "manage.py", "forward_events"]
        environment = os.environ | env | {"EVENTS_URL": url}
        process = subprocess.Popen(command, cwd=servers.ROOT, env=environment, stderr=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for each in started:
        with suppress(ProcessLookupError):
            each.kill()
        each.communicate()


def record(env: dict[str, str], number: int = 1) -> None:
    servers.manage(env, "shell", "--verbosity=0", "--command", RECORD.format(number=number))


def ids(env: dict[str, str]) -> list[int]:
    return list(map(int, servers.manage(env, "shell", "--verbosity=0", "--command", IDS).strip("[]\n ").split(", ")))


@contextmanager
def recorder(env: dict[str, str]) -> Iterator[Callable[[], None]]:
    """A process that records an event for each line on its input, so that a test does not wait for its start."""
    code = "import sys\nfrom accounts.models import SecurityEvent\n" + (
        "for line in sys.stdin: SecurityEvent.objects.record('signed_in', None); print(flush=True)"
    )
    command = [sys.executable, "manage.py", "shell", "--verbosity=0", "--command", code]
    process: Any = subprocess.Popen(
        command, cwd=servers.ROOT, env=os.environ | env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )

    def run() -> None:
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()

    try:
        yield run
    finally:
        process.communicate()


def test_events_arrive_within_two_seconds(env: dict[str, str], syslog: SyslogServer, forward: Any) -> None:
    forward()
    record(env)
    before = len(ids(env))
    servers.wait_until(lambda: len(syslog.messages) >= before)
    delays = []
    with recorder(env) as record_one:
        for number in range(1, 11):
            record_one()
            started = time.monotonic()
            servers.wait_until(lambda wanted=before + number: len(syslog.messages) >= wanted)
            delays.append(time.monotonic() - started)
    assert max(delays) < 2, delays
    sent = datetime.fromisoformat(syslog.messages[-1]["time"])
    assert (datetime.now(UTC) - sent).total_seconds() < 60


def test_a_killed_process_and_an_absent_receiver_lose_nothing(
    env: dict[str, str], syslog: SyslogServer, forward: Any
) -> None:
    first = forward()
    record(env, 50)
    servers.wait_until(lambda: set(ids(env)) <= set(syslog.ids))
    first.kill()
    syslog.stop()
    record(env, 700)
    second = forward()
    time.sleep(3)
    second.kill()
    record(env, 10)
    forward()
    time.sleep(1)
    syslog.start()
    servers.wait_until(lambda: set(ids(env)) <= set(syslog.ids), seconds=30)


def test_two_processes_send_each_event_once(env: dict[str, str], syslog: SyslogServer, forward: Any) -> None:
    record(env, 20)
    first = forward()
    servers.wait_until(lambda: set(ids(env)) <= set(syslog.ids))
    forward()
    record(env, 20)
    servers.wait_until(lambda: set(ids(env)) <= set(syslog.ids))
    assert sorted(syslog.ids) == sorted(set(syslog.ids))
    # The other one takes over.
    first.kill()
    record(env, 20)
    servers.wait_until(lambda: set(ids(env)) <= set(syslog.ids))


def test_a_service_manager_stops_it_without_an_error(env: dict[str, str], syslog: SyslogServer, forward: Any) -> None:
    process = forward()
    record(env)
    servers.wait_until(lambda: len(syslog.messages) > 0)
    process.terminate()
    _out, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, b"")
