"""`manage.py forward_events` as a process: killed, started twice, and with an unavailable receiver."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import psycopg
import pytest

from tests import databases, servers
from tests.event_receivers import SyslogServer, stopped

pytestmark = [pytest.mark.once, pytest.mark.long]

INSERT = """
INSERT INTO accounts_securityevent (type, user_agent, details, created_at) VALUES ('signed_in', '', '{}', now())
"""


class Events:
    """The events of a database of its own, written by SQL: a process of Django would take seconds to start."""

    def __init__(self, url: str) -> None:
        self.env = {"DATABASE_URL": url, "DEBUG": "true"}
        self._connection = psycopg.connect(url, autocommit=True)

    def record(self, number: int = 1) -> None:
        for _ in range(number):
            self._connection.execute(INSERT)

    @property
    def ids(self) -> set[int]:
        return {pk for (pk,) in self._connection.execute("SELECT id FROM accounts_securityevent")}


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Events:
    url = databases.migrated(tmp_path_factory.mktemp("forward"), "forward")
    return Events(url)


@pytest.fixture
def syslog() -> Iterator[SyslogServer]:
    with stopped(SyslogServer()) as server:
        yield server


Forward = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def forward(events: Events, syslog: SyslogServer) -> Iterator[Forward]:
    """Returns a function that starts the command."""
    started: list[subprocess.Popen[bytes]] = []
    url = f"syslog+tcp://127.0.0.1:{syslog.port}"

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "manage.py", "forward_events"]
        environment = os.environ | events.env | {"EVENTS_URL": url}
        process = subprocess.Popen(command, cwd=servers.ROOT, env=environment, stderr=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for each in started:
        with suppress(ProcessLookupError):
            each.kill()
        each.communicate()


def wait_for_all(events: Events, syslog: SyslogServer) -> None:
    servers.wait_until(lambda: events.ids <= set(syslog.ids), seconds=45)


def test_events_arrive_within_two_seconds(events: Events, syslog: SyslogServer, forward: Forward) -> None:
    forward()
    events.record()
    wait_for_all(events, syslog)
    delays = []
    for _ in range(10):
        before = len(syslog.messages)
        events.record()
        started = time.monotonic()
        while len(syslog.messages) == before and time.monotonic() < started + 10:
            time.sleep(0.005)
        delays.append(time.monotonic() - started)
    assert max(delays) < 2, delays


def test_a_killed_process_and_an_absent_receiver_lose_nothing(
    events: Events, syslog: SyslogServer, forward: Forward
) -> None:
    first = forward()
    events.record(50)
    wait_for_all(events, syslog)
    first.kill()
    syslog.stop()
    events.record(700)
    second = forward()
    time.sleep(2)
    second.kill()
    events.record(10)
    forward()
    syslog.start()
    wait_for_all(events, syslog)


def test_one_of_two_processes_sends_and_the_other_takes_over(
    events: Events, syslog: SyslogServer, forward: Forward
) -> None:
    events.record(20)
    first = forward()
    wait_for_all(events, syslog)
    forward()
    time.sleep(2)
    events.record(20)
    wait_for_all(events, syslog)
    assert len(syslog.ids) == len(set(syslog.ids))
    first.kill()
    events.record(20)
    wait_for_all(events, syslog)


def test_a_service_manager_stops_it_without_an_error(events: Events, syslog: SyslogServer, forward: Forward) -> None:
    process = forward()
    events.record()
    wait_for_all(events, syslog)
    process.terminate()
    _out, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, b"")
