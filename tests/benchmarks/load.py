"""Load generators: as many requests as a server answers."""

import math
import multiprocessing
import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tests.benchmarks import machine, wire

CLIENTS = 4
WRK_CONNECTIONS = 8
REFRESH_SCRIPT = Path(__file__).with_name("refresh.lua")

# Sends one request; raises if the response is wrong, StopIteration if there are no requests left.
Step = Callable[[], object]


@dataclass(frozen=True)
class Tally:
    per_second: float
    # In seconds, in order.
    latencies: list[float]
    # Until the last client finished.
    seconds: float = 0.0

    def latency(self, share: float) -> float:
        """Returns the percentile of the latencies in seconds."""
        return self.latencies[min(int(share * len(self.latencies)), len(self.latencies) - 1)]


def requests_per_second(url: str, path: str, headers: Mapping[str, str], seconds: float) -> float:
    """Measured by wrk if installed, otherwise by clients in Python. Raises wire.Failed for any status but 2xx."""
    if shutil.which("wrk"):
        options = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
        return _wrk(url + path, options, seconds, connections=WRK_CONNECTIONS)
    request = wire.get(path, headers)
    return drive([lambda: wire.ask(url, request).expect(200)] * CLIENTS, seconds).per_second


def refreshes_per_second(url: str, path: str, tokens: Sequence[str], seconds: float) -> float:
    """Measured by wrk, with one client and chain for each token. Raises wire.Failed."""
    options = ["-s", str(REFRESH_SCRIPT)]
    return _wrk(url + path, options, seconds, connections=len(tokens), threads=len(tokens), arguments=tokens)


def _wrk(
    url: str, options: Sequence[str], seconds: float, connections: int, threads: int = 1, arguments: Sequence[str] = ()
) -> float:
    # wrk takes whole seconds only.
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{math.ceil(seconds)}s", "--timeout", "10s", *options]
    with machine.pinned(machine.OTHER_CORES):
        output = subprocess.run([*command, url, *arguments], capture_output=True, text=True, check=True).stdout
    if trouble := re.search(r"Non-2xx.*|Socket errors.*|Trouble:.*", output):
        raise wire.Failed(trouble[0])
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if not rate:
        raise wire.Failed(output)
    return float(rate[1])


def drive(steps: Sequence[Step], seconds: float = math.inf, every: float = 0) -> Tally:
    """
    Repeats each step in its own process, all concurrently, for a time or until no requests are left: as fast as
    possible, or at an interval. With an interval a latency counts from the time at which the request was due.
    """
    context = multiprocessing.get_context("fork")
    start = context.Barrier(len(steps))
    clients = []
    for step in steps:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_client, args=(step, seconds, every, start, sender), daemon=True)
        process.start()
        sender.close()
        clients.append((process, receiver))
    results = [receiver.recv() for _, receiver in clients]
    for process, _ in clients:
        process.join()
    if failures := [each for each in results if isinstance(each, str)]:
        raise wire.Failed(failures[0])
    if not all(latencies for latencies, _ in results):
        raise wire.Failed("a client had nothing to ask")
    per_second = sum(len(latencies) / elapsed for latencies, elapsed in results)
    latencies = sorted(latency for latencies, _ in results for latency in latencies)
    return Tally(per_second, latencies, max(elapsed for _, elapsed in results))


def _client(
    step: Step, seconds: float, every: float, start: "multiprocessing.synchronize.Barrier", sender: Connection
) -> None:
    try:
        with machine.pinned(machine.OTHER_CORES):
            start.wait()
            sender.send(_repeat(step, seconds, every))
    except Exception as error:
        sender.send(f"{type(error).__name__}: {error}")


def _repeat(step: Step, seconds: float, every: float) -> tuple[list[float], float]:
    latencies = []
    started = before = time.perf_counter()
    # Starts are spread over the interval.
    due = started + every * random.random()
    while before - started < seconds:
        if every:
            time.sleep(max(0.0, due - before))
            before, due = due, due + every
        try:
            step()
        except StopIteration:
            break
        now = time.perf_counter()
        latencies.append(now - before)
        before = now
    return latencies, before - started
