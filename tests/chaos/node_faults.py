"""Faults of nodes and their workers, and a rolling update."""

import random
import signal
import time
from contextlib import suppress

import psutil

from tests import servers
from tests.chaos.fleet import Fleet
from tests.chaos.staging import Staged, dies, rest


def node_killed(fleet: Fleet, rng: random.Random) -> None:
    node = rng.choice(fleet.nodes)
    node.kill()
    rest(rng)
    node.start()


def node_paused(fleet: Fleet, rng: random.Random) -> None:
    node = rng.choice(fleet.nodes)
    node.pause()
    rest(rng, 1, 5)
    node.resume()


def workers_of(fleet: Fleet, rng: random.Random) -> list[psutil.Process]:
    return psutil.Process(rng.choice(fleet.nodes).process.pid).children()


def worker_killed(fleet: Fleet, rng: random.Random) -> None:
    with suppress(psutil.NoSuchProcess, IndexError):
        rng.choice(workers_of(fleet, rng)).send_signal(signal.SIGKILL)


def worker_timed_out(fleet: Fleet, rng: random.Random) -> None:
    """Stopped for longer than gunicorn's --timeout: it is killed and replaced."""
    with suppress(psutil.NoSuchProcess, IndexError):
        rng.choice(workers_of(fleet, rng)).send_signal(signal.SIGSTOP)
        time.sleep(9)


def rolling_restart(fleet: Fleet, rng: random.Random) -> None:
    for node in fleet.nodes:
        node.process.send_signal(signal.SIGHUP)
        time.sleep(2)


def rolling_update(fleet: Fleet, rng: random.Random) -> None:
    """By the steps of project/README.md: migrate, then each node ends and starts, one after the other."""
    with fleet.database_turn:
        servers.manage(fleet.env, "migrate", "--verbosity=0")
    for node in fleet.nodes:
        node.stop_gracefully()
        node.start()


KINDS: dict[str, Staged] = {
    "node killed -9": node_killed,
    "node paused up to 5 s": node_paused,
    "worker killed -9": worker_killed,
    "worker timed out": worker_timed_out,
    "rolling restart": rolling_restart,
    "rolling update": rolling_update,
    "killed -9 in a refresh before the commit": dies("in a refresh, before the commit"),
    "killed -9 in a refresh after the commit": dies("in a refresh, after the commit"),
    "killed -9 right after a theft was found": dies("after a theft was found"),
}
