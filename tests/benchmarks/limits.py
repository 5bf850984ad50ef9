"""Sign-ins, refreshes and checks per second of one node and of three, and the CPU time of each part."""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count, product
from statistics import median
from typing import Any

import psutil
import psycopg

from tests.benchmarks import wire
from tests.benchmarks.load import Step, Tally, drive
from tests.benchmarks.output import Progress, table
from tests.benchmarks.refresh import Chain
from tests.benchmarks.stand import Fleet, stand

CLIENTS = (1, 2, 4, 8, 16, 32, 64)
# The number of clients grows until twice in a row the throughput grows by less than this factor.
GROWTH = 1.05
USERS = 200
WORKERS = 2
WARM_UP_SECONDS = 1.0

Steps = Callable[[Fleet, int], Sequence[Step]]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--workers", type=int, default=WORKERS, help="of each node")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, help="at once, rising")
    parser.add_argument("--rounds", type=int, default=9, help="at the knee")
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")


def run(options: Namespace) -> list[dict[str, Any]]:
    with stand() as here, ExitStack() as stack:
        here.call("rows.clients", count=USERS * 10)
        fleets = [stack.enter_context(here.fleet(nodes, options.workers)) for nodes in options.nodes]
        subjects = list(product(fleets, KINDS))
        progress = stack.enter_context(Progress(len(subjects) * (len(options.clients) + options.rounds)))
        knees = []
        for fleet, what in subjects:
            progress.at(f"{len(fleet.nodes)} nodes: {what}")
            knees.append(knee(fleet, KINDS[what], options.clients, options.seconds))
            progress.step(len(options.clients))
        # In turns, so that other load on the machine affects all of them alike.
        rounds: list[list[dict[str, Any]]] = [[] for _ in subjects]
        for number in range(options.rounds):
            for (fleet, what), at, measured in zip(subjects, knees, rounds, strict=True):
                progress.at(f"round {number + 1}, {len(fleet.nodes)} nodes: {what}")
                measured.append(_measure(fleet, KINDS[what](fleet, at["clients"]), options.seconds))
                progress.step()
    about = [{"what": what, "nodes": len(fleet.nodes), "workers": options.workers} for fleet, what in subjects]
    results = [
        {**each, **_median(measured), "rounds": measured, "tried": at["tried"]}
        for each, at, measured in zip(about, knees, rounds, strict=True)
    ]
    show(results)
    return results


def _median(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the median of each figure."""
    first = rounds[0]
    return {
        name: _median([each[name] for each in rounds])
        if isinstance(first[name], dict)
        else median(each[name] for each in rounds)
        for name in first
    }


def show(results: Sequence[dict[str, Any]]) -> None:
    spent = [f"{each}, ms" for each in PARTS.values()]
    table(
        ["", "nodes", "a second", "min-max", "clients at the knee", "p50, ms", "p99, ms", *spent, "WAL, bytes"],
        [
            [
                each["what"],
                str(each["nodes"]),
                f"{each['per_second']:,.0f}",
                "{:,.0f}-{:,.0f}".format(*extremes(each)),
                f"{each['clients']:.0f}",
                f"{each['p50_milliseconds']:.1f}",
                f"{each['p99_milliseconds']:.1f}",
                *(f"{each['cpu_milliseconds'][part]:.2f}" for part in PARTS),
                f"{each['wal_bytes']:,.0f}",
            ]
            for each in results
        ],
    )


def extremes(result: dict[str, Any]) -> tuple[float, float]:
    """Returns the lowest and the highest rate of the rounds."""
    rates = [each["per_second"] for each in result["rounds"]]
    return min(rates), max(rates)


# CPU time of one request.
PARTS = {"application": "application", "balancer": "nginx", "postgres": "PostgreSQL", "valkey": "Valkey"}


def knee(fleet: Fleet, steps: Steps, clients: Sequence[int], seconds: float) -> dict[str, Any]:
    """Returns the result with the fewest clients near the maximum, and all results."""
    # The first request of a kind is slow in every worker, and one client always reaches the same worker.
    drive(steps(fleet, 2 * fleet.workers * len(fleet.nodes)), min(seconds, WARM_UP_SECONDS))
    tried: list[dict[str, Any]] = []
    best, without_growth = 0.0, 0
    for number in clients:
        tried.append(_measure(fleet, steps(fleet, number), seconds))
        per_second = tried[-1]["per_second"]
        without_growth = 0 if per_second > GROWTH * best else without_growth + 1
        best = max(best, per_second)
        if without_growth == 2:
            break
    found = next(each for each in tried if each["per_second"] * GROWTH >= best)
    return found | {"tried": tried}


def _measure(fleet: Fleet, steps: Sequence[Step], seconds: float) -> dict[str, Any]:
    before = _spent(fleet)
    tally: Tally = drive(steps, seconds)
    after, done = _spent(fleet), len(tally.latencies)
    return {
        "clients": len(steps),
        # The total over the common duration: a sum of the rates of each client is too high if some wait long.
        "per_second": done / tally.seconds,
        "p50_milliseconds": tally.latency(0.5) * 1000,
        "p99_milliseconds": tally.latency(0.99) * 1000,
        "cpu_milliseconds": {part: (after[part] - before[part]) * 1000 / done for part in PARTS},
        "wal_bytes": (after["wal"] - before["wal"]) / done,
    }


def _spent(fleet: Fleet) -> dict[str, float]:
    """Returns the CPU seconds of each part so far, and the bytes of PostgreSQL's log."""
    spent = {part: sum(map(_cpu, servers)) for part, servers in fleet.parts.items()}
    with psycopg.connect(fleet.stand.postgres.url) as connection:
        (wal,) = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()  # type: ignore[misc]
    return spent | {"wal": float(wal)}


def _cpu(server: Any) -> float:
    parent = psutil.Process(server.process.pid)
    times = [each.cpu_times() for each in (parent, *parent.children(recursive=True))]
    return sum(each.user + each.system for each in times) + times[0].children_user + times[0].children_system


def headers(number: int) -> dict[str, str]:
    """Returns the headers of a client with its own address."""
    return {"User-Agent": wire.USER_AGENT, "X-Forwarded-For": f"10.1.{number // 250}.{number % 250 + 1}"}


def retry_when_throttled(url: str, request: bytes, status: int = 200) -> wire.Answer:
    """Repeats a request after a 429. Raises wire.Failed for another status."""
    while (answer := wire.ask(url, request)).status == 429:
        time.sleep(1)
    return answer.expect(status)


def _sign_ins(fleet: Fleet, clients: int) -> Iterator[Step]:
    for number in range(clients):
        names = count(number, clients)

        def sign_in(number: int = number, names: Iterator[int] = names) -> None:
            data = {"username": f"user-{1 + next(names) % (USERS - 1)}", "password": wire.PASSWORD}
            retry_when_throttled(fleet.url, wire.post("/api/token/", data, headers(number)))

        yield sign_in


def _refreshes(fleet: Fleet, clients: int) -> Iterator[Step]:
    for pair in fleet.stand.call("credentials.passports", count=clients):
        yield Chain(fleet.url, pair["refresh"]).refresh


def _checks(fleet: Fleet, clients: int) -> Iterator[Step]:
    for pair in fleet.stand.call("credentials.passports", count=clients):
        request = wire.post("/api/token/verify/", {"token": pair["access"]})
        yield partial(retry_when_throttled, fleet.url, request)


def _calls_by_token(fleet: Fleet, clients: int) -> Iterator[Step]:
    for pair in fleet.stand.call("credentials.passports", count=clients):
        request = wire.get("/api/me/", wire.HTTPS | wire.bearer(pair["access"]))
        yield partial(retry_when_throttled, fleet.url, request)


def _calls_by_session(fleet: Fleet, clients: int) -> Iterator[Step]:
    for cookie in fleet.stand.call("credentials.wristbands", count=clients):
        yield partial(retry_when_throttled, fleet.url, wire.get("/api/me/", wire.HTTPS | cookie))


SIGN_IN, REFRESH, CHECK = "sign-in", "refresh", "check of a token (`/api/token/verify/`)"
BY_TOKEN, BY_SESSION = "`/api/me/`, token mode", "`/api/me/`, session mode"
KINDS: dict[str, Steps] = {
    SIGN_IN: lambda fleet, clients: list(_sign_ins(fleet, clients)),
    REFRESH: lambda fleet, clients: list(_refreshes(fleet, clients)),
    CHECK: lambda fleet, clients: list(_checks(fleet, clients)),
    BY_TOKEN: lambda fleet, clients: list(_calls_by_token(fleet, clients)),
    BY_SESSION: lambda fleet, clients: list(_calls_by_session(fleet, clients)),
}
