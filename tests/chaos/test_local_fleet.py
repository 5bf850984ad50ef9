"""`manage.py start --fleet 2`: it serves as printed, and Ctrl-C stops every process."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile

import httpx
import psutil
import pytest

from tests import servers
from tests.plugins.optional_tools import require

# On a busy machine a start takes two minutes.
pytestmark = [pytest.mark.once, pytest.mark.long, pytest.mark.timeout(300)]

LAST_PERSON = "    carol"
# From Ctrl-C to the end of all processes.
END_SECONDS = 15


@pytest.fixture
def stand() -> Iterator[subprocess.Popen[str]]:
    require(servers.nginx_program)
    command = [sys.executable, "manage.py", "start", "--fleet", "2", "--port", str(servers.free_port())]
    env = os.environ | {"DEBUG": "true"}
    with subprocess.Popen(command, cwd=servers.ROOT, env=env, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.named)])
def test_the_local_fleet_starts_serves_and_ends(stand: subprocess.Popen[str], number: signal.Signals) -> None:
    assert stand.stdout
    output = "".join(takewhile(lambda line: not line.startswith(LAST_PERSON), stand.stdout))
    [base] = re.findall(r"pages +(\S+)/\n", output)
    [password] = re.findall(r"alice +(\S+)", output)
    nodes = dict(re.findall(r"node +pid (\d+) +http://(\S+)", output))
    processes = [psutil.Process(int(pid)) for pid in re.findall(r"pid (\d+)", output)]
    assert (len(nodes), len(processes)) == (2, 6)

    with httpx.Client(base_url=base, timeout=30, trust_env=False) as http:
        assert http.get("/accounts/login/").status_code == 200
        assert http.get("/compare/").status_code == 200
        access = http.post("/api/token/", json={"username": "alice", "password": password}).json()["access"]

        def call() -> httpx.Response:
            return http.get("/api/me/", headers={"Authorization": f"Bearer {access}"})

        answered = set()

        def answered_all() -> bool:
            answer = call()
            assert answer.status_code == 200, answer.text
            answered.add(answer.headers["X-Node"])
            return answered == set(nodes.values())

        # The balancer skips a node for two seconds after it was too busy to respond.
        servers.wait_until(answered_all)
        # The workers too, of which those of the killed node end by themselves or with the fleet.
        processes += [each for process in processes for each in process.children(recursive=True)]
        psutil.Process(int(next(iter(nodes)))).kill()
        assert {call().status_code for _ in range(6)} == {200}

    folders = re.findall(r"PostgreSQL +pid \d+ +(\S+)", output)
    stand.send_signal(number)
    assert stand.wait(END_SECONDS) == 0
    assert psutil.wait_procs(processes, 5)[1] == []
    servers.wait_until(lambda: not any(map(os.path.exists, folders)), 60)


def test_the_local_fleet_ends_while_it_starts(stand: subprocess.Popen[str]) -> None:
    fleet = psutil.Process(stand.pid)
    servers.wait_until(lambda: any("postgres" in each.name() for each in fleet.children()), 100)
    processes = fleet.children(recursive=True)
    stand.send_signal(signal.SIGINT)
    assert stand.wait(END_SECONDS) == 128 + signal.SIGINT
    assert psutil.wait_procs(processes, 30)[1] == []
