"""Start-up time and memory of processes of this project and of a stock one."""

import os
import resource
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, cycle, islice
from statistics import mean
from typing import Any

import psutil

from tests import servers
from tests.benchmarks import machine, wire
from tests.benchmarks.load import CLIENTS, drive
from tests.benchmarks.output import Progress
from tests.benchmarks.sites import Site, result

LOGIN = "/accounts/login/"
WORKERS = 2
MEGABYTE = 1e6
GERMAN = {"Accept-Language": "de"}


@dataclass(frozen=True)
class Use:
    """The paths that a worker serves before its memory is read again."""

    pages: Sequence[str]
    api: Sequence[str]


OURS = Use(
    [
        "/",
        "/accounts/sign-ins/",
        "/accounts/activity/",
        "/accounts/profile/",
        "/admin/",
        "/admin/accounts/user/",
        "/admin/accounts/signin/",
        "/admin/accounts/securityevent/",
        "/admin/accounts/user/1/change/",
        "/api/docs/",
        "/api/schema/",
    ],
    ["/api/me/", "/api/sign-ins/"],
)
STOCK = Use(
    ["/", "/admin/", "/admin/auth/user/", "/admin/auth/user/1/change/", "/admin/token_blacklist/outstandingtoken/"],
    ["/api/me/", "/api/sign-ins/"],
)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--starts", type=int, default=9, help="of each process")
    parser.add_argument("--nodes", type=int, default=3, help="whose memory is read")
    parser.add_argument("--requests", type=int, default=4000, help="before the memory is read again")


def measure(ours: Site, stock: Site, options: Namespace) -> list[dict[str, Any]]:
    return [*_starts(ours, stock, options.starts), *_memory(ours, stock, options.nodes, options.requests)]


def _starts(ours: Site, stock: Site, times: int) -> list[dict[str, Any]]:
    results = []
    with Progress(2 * times) as progress:
        for what in ("start and first page", "manage.py check"):
            progress.at(what)
            took = []
            # The first process of each writes its byte code.
            for _ in range(times + 1):
                took.append([_cpu_seconds(site, _command(what, site)) for site in (ours, stock)])
                progress.step()
            results.append(result(what, "s", *zip(*took[1:], strict=True)))
    return results


def _command(what: str, site: Site) -> Sequence[str]:
    if what == "manage.py check":
        return ["manage.py", "check"]
    return ["-m", "tests.benchmarks.site.first_request", site.application, LOGIN]


def _cpu_seconds(site: Site, command: Sequence[str]) -> float:
    """CPU time, since on a busy machine the clock includes other processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with machine.pinned(machine.SERVER_CORE):
        env = os.environ | site.stand.env
        subprocess.run([sys.executable, *command], cwd=servers.ROOT, env=env, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _memory(ours: Site, stock: Site, nodes: int, requests: int) -> list[dict[str, Any]]:
    """Proportional set sizes: shared pages count in part."""
    weighed: list[list[list[float]]] = []
    with Progress(2 * nodes) as progress:
        # Each with a token of its own, as many clients have.
        users = {"memory": [min(500, requests), 5]}
        people = {
            site: site.stand.call(f"{site.people}.people", prefix="memory", groups=users) for site in (ours, stock)
        }
        for _ in range(nodes):
            weighed.append([])
            for site, use in ((ours, OURS), (stock, STOCK)):
                progress.at("memory")
                weighed[-1].append(_weigh(site, use, people[site]["memory"], requests))
                progress.step()
    names = ("worker, fresh", "worker, after use", "node per worker, after use")
    return [
        result(name, "MB", [each[0][which] for each in weighed], [each[1][which] for each in weighed])
        for which, name in enumerate(names)
    ]


def _weigh(site: Site, use: Use, people: Sequence[dict[str, Any]], requests: int) -> list[float]:
    """Returns megabytes: of a worker, fresh and after use, and of all processes after use, by worker."""
    cookie = site.stand.call(f"{site.people}.ann")
    sent = list(islice(_requests(use, cookie, people), requests))
    with site.node(WORKERS) as node:
        parent = psutil.Process(node.process.pid)
        fresh = mean(map(_proportional, parent.children()))
        drive([partial(_ask, node.url, iter(sent[each::CLIENTS])) for each in range(CLIENTS)])
        workers = [_proportional(each) for each in parent.children()]
        return [fresh, mean(workers), (sum(workers) + _proportional(parent)) / len(workers)]


def _requests(use: Use, cookie: dict[str, str], people: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    """Three calls by tokens, then a page, in English and in German by turns."""
    calls = cycle([wire.get(path, wire.HTTPS | wire.bearer(each["access"])) for each in people for path in use.api])
    signed_in = [wire.get(path, wire.HTTPS | cookie | more) for path in use.pages for more in ({}, GERMAN)]
    pages = cycle([*signed_in, wire.get(LOGIN, wire.HTTPS)])
    return chain.from_iterable(zip(calls, calls, calls, pages, strict=False))


def _ask(url: str, requests: Iterator[bytes]) -> None:
    wire.ask(url, next(requests)).expect(200)


def _proportional(process: psutil.Process) -> float:
    return process.memory_full_info().pss / MEGABYTE
