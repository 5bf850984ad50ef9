"""Requests per second of CPU time, memory and start-up time of the whole project under each application server."""

import json
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from statistics import median
from typing import Any

import psutil

from tests import servers
from tests.benchmarks import machine, wire
from tests.benchmarks.load import requests_per_second
from tests.benchmarks.output import Progress, say, table
from tests.benchmarks.stand import Stand, stand

SETTINGS = "tests.benchmarks.site.with_view"
WARM_UP_SECONDS = 1.0
KEPT_CONNECTIONS = 8


@dataclass(frozen=True, eq=False)
class Candidate:
    name: str
    # Of tests.application_servers.SERVERS, with its arguments.
    server: str
    arguments: tuple[str, ...] = ()
    # A package that the tests do not need.
    package: str = ""


# The ratios are to the first one.
CANDIDATES = [
    Candidate("gunicorn sync", "gunicorn", ("--http-parser=python",)),
    Candidate("gunicorn gthread", "gunicorn", ("--worker-class=gthread", "--http-parser=python")),
    Candidate("gunicorn sync, gunicorn_h1c", "gunicorn", ("--http-parser=fast",), "gunicorn_h1c"),
    Candidate(
        "gunicorn gthread, gunicorn_h1c", "gunicorn", ("--worker-class=gthread", "--http-parser=fast"), "gunicorn_h1c"
    ),
    Candidate("granian", "granian", (), "granian"),
]
WAYS = ("direct", "nginx", "nginx, kept connections")


@dataclass(frozen=True)
class Running:
    node: servers.Node
    # By way.
    urls: Mapping[str, str]
    # Until it answered.
    start_seconds: float


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement; wrk takes whole seconds")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="servers with NAME in their name")
    parser.add_argument("--way", action="append", choices=WAYS, help="to the server; all by default")


def run(options: Namespace) -> list[dict[str, Any]]:
    candidates, ways = chosen(options.only), options.way or WAYS
    with stand() as here, ExitStack() as stack:
        views = views_of(here)
        started = {each: stack.enter_context(running(here, each, ways)) for each in candidates}
        figures = measure(started, views, ways, options.rounds, options.seconds)
        memory = [_memory(each.name, of) for each, of in started.items()]
    speeds = [_result(candidates[0], *subject, figures) for subject in figures]
    show(speeds, memory)
    return [*speeds, *memory]


def chosen(names: Sequence[str]) -> list[Candidate]:
    candidates = CANDIDATES[:1]
    for each in CANDIDATES[1:]:
        if names and not any(name.lower() in each.name.lower() for name in names):
            continue
        if each.package and find_spec(each.package) is None:
            say(f"{each.name}: skipped, {each.package} is not installed")
            continue
        candidates.append(each)
    return candidates


def views_of(here: Stand) -> dict[str, tuple[str, dict[str, str]]]:
    """Returns path and headers of each measured view."""
    manifest = json.loads((servers.ROOT / "var" / "static" / "staticfiles.json").read_text())
    stylesheet = manifest["paths"]["accounts/site.css"]
    cookie, access = here.call("credentials.wristband"), here.call("credentials.passport")
    return {
        "token mode": ("/whoami/", wire.HTTPS | access),
        "session mode": ("/whoami/", wire.HTTPS | cookie),
        "page of a signed-in user": ("/accounts/sign-ins/", wire.HTTPS | cookie),
        "static file": (f"/static/{stylesheet}", wire.HTTPS),
    }


@contextmanager
def running(here: Stand, candidate: Candidate, ways: Sequence[str]) -> Iterator[Running]:
    """Starts one worker on its own core, and the proxies before it on the others."""
    env = here.env | {"DJANGO_SETTINGS_MODULE": SETTINGS}
    with ExitStack() as stack:
        started = time.perf_counter()
        with machine.pinned(machine.SERVER_CORE):
            node = stack.enter_context(
                servers.node(env, workers=1, args=candidate.arguments, server=candidate.server),
            )
        seconds = time.perf_counter() - started
        urls = {"direct": node.url}
        with machine.pinned(machine.OTHER_CORES):
            for way, kept in zip(WAYS[1:], (0, KEPT_CONNECTIONS), strict=True):
                if way in ways:
                    urls[way] = stack.enter_context(servers.balancer([node], kept=kept)).url
        yield Running(node, urls, seconds)


# Candidate, way and view; round by round.
Figures = dict[tuple[Candidate, str, str], list["Figure"]]


@dataclass(frozen=True)
class Figure:
    per_second: float
    # Of the server's processes. Other load on the machine hardly changes it.
    cpu_seconds: float

    @property
    def per_cpu_second(self) -> float:
        return 1 / self.cpu_seconds


def measure(
    started: Mapping[Candidate, Running],
    views: Mapping[str, tuple[str, dict[str, str]]],
    ways: Sequence[str],
    rounds: int,
    seconds: float,
) -> Figures:
    """Measures interleaved, server by server, so that other load on the machine affects all alike."""
    figures: Figures = {subject: [] for subject in product(started, ways, views)}
    with Progress(rounds * len(figures)) as progress:
        for number, way, view, candidate in product(range(rounds), ways, views, started):
            progress.at(f"{candidate.name}, {way}: {view}")
            url, (path, headers) = started[candidate].urls[way], views[view]
            wire.ask(url, wire.get(path, headers)).expect(200)
            if number == 0:
                requests_per_second(url, path, headers, min(seconds, WARM_UP_SECONDS))
            figures[candidate, way, view].append(_measure_once(started[candidate].node, url, path, headers, seconds))
            progress.step()
    return figures


def _measure_once(node: servers.Node, url: str, path: str, headers: Mapping[str, str], seconds: float) -> Figure:
    before, began = _cpu_seconds(node), time.perf_counter()
    rate = requests_per_second(url, path, headers, seconds)
    return Figure(rate, (_cpu_seconds(node) - before) / (rate * (time.perf_counter() - began)))


def _cpu_seconds(node: servers.Node) -> float:
    parent = psutil.Process(node.process.pid)
    times = [each.cpu_times() for each in (parent, *parent.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def _memory(name: str, running: Running) -> dict[str, Any]:
    """Of parent and worker together, after use."""
    parent = psutil.Process(running.node.process.pid)
    worker = max(parent.children(recursive=True), key=lambda each: each.memory_info().rss)
    return {
        "server": name,
        "start_seconds": running.start_seconds,
        "worker_megabytes": worker.memory_full_info().pss / 2**20,
        "parent_megabytes": parent.memory_full_info().pss / 2**20,
    }


def _result(first: Candidate, candidate: Candidate, way: str, view: str, figures: Figures) -> dict[str, Any]:
    rounds, base = figures[candidate, way, view], figures[first, way, view]
    ratios = [ours.per_cpu_second / theirs.per_cpu_second for ours, theirs in zip(rounds, base, strict=True)]
    return {
        "server": candidate.name,
        "way": way,
        "view": view,
        "requests_per_second": median(each.per_second for each in rounds),
        "rounds": [each.per_second for each in rounds],
        "cpu_microseconds": median(each.cpu_seconds for each in rounds) * 1e6,
        # Requests per second of CPU time.
        "ratio": median(ratios),
        "ratios": ratios,
    }


def show(speeds: Sequence[dict[str, Any]], memory: Sequence[dict[str, Any]]) -> None:
    table(
        ["", "to the server", "view", "requests/s", "CPU, µs", "ratio by CPU", "min-max"],
        [
            [
                each["server"],
                each["way"],
                each["view"],
                f"{each['requests_per_second']:.0f}",
                f"{each['cpu_microseconds']:.0f}",
                f"{each['ratio']:.2f}",
                f"{min(each['ratios']):.2f}-{max(each['ratios']):.2f}",
            ]
            for each in sorted(speeds, key=lambda each: (each["way"], each["view"]))
        ],
    )
    say()
    table(
        ["", "start, s", "worker, MB", "parent, MB"],
        [
            [
                each["server"],
                f"{each['start_seconds']:.1f}",
                f"{each['worker_megabytes']:.0f}",
                f"{each['parent_megabytes']:.0f}",
            ]
            for each in memory
        ],
    )
