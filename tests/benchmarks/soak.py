"""Memory, connections and tables during hours at half of the maximum load."""

import ctypes
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.sharedctypes import RawArray
from secrets import token_hex
from statistics import median
from typing import Any
from urllib.parse import urlencode

import psutil
import psycopg
from redis import Redis

from tests.benchmarks import limits, wire
from tests.benchmarks.load import Step, drive
from tests.benchmarks.output import Progress, say, table
from tests.benchmarks.sizes import per_row
from tests.benchmarks.stand import Fleet, Stand, stands

# The refreshes of a client, and the calls after each; a browser makes as many calls.
REFRESHES, CALLS = 3, 8
CLIENTS = (2, 4, 8, 16, 32)
USERS = 200
WEIGHED_ROWS = 50_000
# The share of the time until caches are full and every worker has its connections.
WARM_UP_SHARE = 0.2


class Done(ctypes.Structure):
    """The actions of one client, by the rows that they leave."""

    _fields_ = (
        ("client_sign_ins", ctypes.c_long),
        ("client_ends", ctypes.c_long),
        ("browser_sign_ins", ctypes.c_long),
        ("browser_ends", ctypes.c_long),
        ("refreshes", ctypes.c_long),
        ("calls", ctypes.c_long),
    )


@dataclass
class Samples:
    """Samples: seconds since the start, and the bytes of each process by name."""

    at: list[float] = field(default_factory=list)
    memory: list[dict[str, dict[str, int]]] = field(default_factory=list)
    postgres_connections: list[int] = field(default_factory=list)
    valkey_connections: list[int] = field(default_factory=list)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--workers", type=int, default=limits.WORKERS, help="of each node")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, help="at once, to find the knee")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement on the way to the knee")
    parser.add_argument("--rows", type=int, default=WEIGHED_ROWS, help="of each table, to weigh one")


def run(options: Namespace) -> list[dict[str, Any]]:
    with stands(2) as (here, aside), Progress(4) as progress:
        progress.at("weighing rows")
        weights = {each["table"]: per_row(each) for each in aside.call("sizes.load", count=options.rows)}
        here.call("rows.clients", count=USERS * 10)
        progress.step()
        # So that entries of the blocklist expire as fast as they are added.
        with here.fleet(options.nodes, options.workers, ACCESS_TOKEN_MINUTES="5") as fleet:
            progress.at("looking for the knee")
            knee = limits.knee(fleet, _people, options.clients, options.seconds)
            rate = knee["per_second"] / 2
            progress.step()
            before = here.call("sizes.measure")
            progress.at(f"{rate:.0f} requests a second for {options.minutes:g} minutes")
            done = RawArray(Done, max(2, knee["clients"]))
            steps = _people(fleet, len(done), done)
            with Watch(fleet, 60 * options.minutes) as samples:
                tally = drive(steps, 60 * options.minutes, every=len(done) / rate)
            progress.step()
            after = here.call("sizes.measure")
    result: dict[str, Any] = {
        "minutes": options.minutes,
        "knee": knee,
        "asked_per_second": rate,
        "per_second": tally.per_second,
        "p50_milliseconds": tally.latency(0.5) * 1000,
        "p99_milliseconds": tally.latency(0.99) * 1000,
        "done": {name: sum(getattr(each, name) for each in done) for name, _type in Done._fields_},
        "processes": _processes(samples),
        "postgres_connections": _early_and_late(samples.at, samples.postgres_connections),
        "valkey_connections": _early_and_late(samples.at, samples.valkey_connections),
    }
    result["tables"] = _tables(result["done"], weights, before, after)
    show([result])
    return [result]


def show(results: list[dict[str, Any]]) -> None:
    for result in results:
        say(
            f"{result['per_second']:.0f} requests a second for {result['minutes']:g} minutes"
            f" (the knee: {result['knee']['per_second']:.0f}), p50 {result['p50_milliseconds']:.0f} ms,"
            f" p99 {result['p99_milliseconds']:.0f} ms, none failed.\n"
        )
        rows = [
            [each["process"], *(f"{each[when] / 1e6:.1f}" for when in ("early", "late"))]
            for each in result["processes"]
        ]
        table(["own memory (USS), MB", "early", "late"], rows)
        say()
        names = {"postgres_connections": "PostgreSQL", "valkey_connections": "Valkey"}
        rows = [[names[name], *(f"{result[name][when]:.0f}" for when in ("early", "late", "most"))] for name in names]
        table(["connections", "early", "late", "most"], rows)
        say()
        table(
            ["table", "rows added", "predicted", "MB added", "predicted"],
            [
                [
                    each["table"],
                    f"{each['rows']:,}",
                    f"{each['predicted_rows']:,}",
                    f"{each['bytes'] / 1e6:.1f}",
                    f"{each['predicted_bytes'] / 1e6:.1f}",
                ]
                for each in result["tables"]
            ],
        )


def _people(fleet: Fleet, number: int, done: Sequence[Done] | None = None) -> list[Step]:
    """Runs half of the users as clients and half as browsers."""
    lives: list[Callable[[str, int, Done], Iterator[None]]] = [_client, _browser]
    places = done or RawArray(Done, number)
    return [partial(next, lives[each % 2](fleet.url, each, places[each])) for each in range(number)]


def _client(url: str, number: int, done: Done) -> Iterator[None]:
    """Sends one request at a time, like the browser."""
    about = limits.headers(number)
    while True:
        data = {"username": _name(number + done.client_sign_ins), "password": wire.PASSWORD}
        pair = limits.retry_when_throttled(url, wire.post("/api/token/", data, about)).json()
        done.client_sign_ins += 1
        yield
        for refreshed in range(REFRESHES + 1):
            if refreshed:
                answer = limits.retry_when_throttled(
                    url, wire.post("/api/token/refresh/", {"refresh": pair["refresh"]}, about)
                )
                pair = answer.json()
                done.refreshes += 1
                yield
            for _ in range(CALLS):
                wire.ask(url, wire.get("/api/me/", wire.HTTPS | about | wire.bearer(pair["access"]))).expect(200)
                done.calls += 1
                yield
        limits.retry_when_throttled(url, wire.post("/api/token/blacklist/", {"refresh": pair["refresh"]}, about))
        done.client_ends += 1
        yield


def _browser(url: str, number: int, done: Done) -> Iterator[None]:
    while True:
        # Any value works if the cookie and the field are the same.
        csrf = token_hex(16)
        about = wire.HTTPS | limits.headers(number) | {"Referer": "https://127.0.0.1/"}
        form = {"username": _name(number + done.browser_sign_ins), "password": wire.PASSWORD}
        cookies = {"Cookie": f"__Host-csrftoken={csrf}"}
        login = _form("/accounts/login/", about | cookies, form | {"csrfmiddlewaretoken": csrf})
        answer = limits.retry_when_throttled(url, login, 302)
        session = answer.head.partition(b"Set-Cookie: __Host-sessionid=")[2].partition(b";")[0].decode()
        cookies = {"Cookie": f"__Host-csrftoken={csrf}; __Host-sessionid={session}"}
        done.browser_sign_ins += 1
        yield
        for _ in range((REFRESHES + 1) * CALLS):
            wire.ask(url, wire.get("/api/me/", about | cookies)).expect(200)
            done.calls += 1
            yield
        limits.retry_when_throttled(url, _form("/accounts/logout/", about | cookies, {"csrfmiddlewaretoken": csrf}))
        done.browser_ends += 1
        yield


def _name(number: int) -> str:
    return f"user-{1 + number % (USERS - 1)}"


def _form(path: str, about: dict[str, str], data: dict[str, str]) -> bytes:
    headers = about | {"Content-Type": "application/x-www-form-urlencoded"}
    return wire.request("POST", path, headers, urlencode(data))


class Watch:
    """Samples the processes and connections of a fleet a hundred times in a duration."""

    def __init__(self, fleet: Fleet, seconds: float) -> None:
        self._fleet, self._every = fleet, max(1.0, seconds / 100)
        self._over, self._samples = threading.Event(), Samples()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Samples:
        self._thread.start()
        return self._samples

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        started = time.monotonic()
        while not self._over.wait(self._every):
            self._samples.memory.append(_memory(self._fleet))
            self._samples.postgres_connections.append(_connections(self._fleet.stand))
            self._samples.valkey_connections.append(_valkey_connections(self._fleet.stand))
            self._samples.at.append(time.monotonic() - started)


def _memory(fleet: Fleet) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for part, servers in fleet.parts.items():
        found[part] = {}
        for server in servers:
            parent = psutil.Process(server.process.pid)
            for process in (parent, *parent.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    found[part][str(process.pid)] = process.memory_full_info().uss
    return found


def _connections(stand: Stand) -> int:
    """Returns the number of connections, without this one."""
    with psycopg.connect(stand.postgres.url) as connection:
        statement = "SELECT count(*) - 1 FROM pg_stat_activity WHERE backend_type = 'client backend'"
        (number,) = connection.execute(statement).fetchone()  # type: ignore[misc]
    return int(number)


def _valkey_connections(stand: Stand) -> int:
    with Redis.from_url(stand.valkey.url) as redis:
        return int(redis.info("clients")["connected_clients"]) - 1  # type: ignore[index]


def _early_and_late(at: Sequence[float], values: Sequence[float]) -> dict[str, float]:
    """Returns the medians of the first quarter after the warm-up and of the last."""
    warm = [value for moment, value in zip(at, values, strict=True) if moment >= WARM_UP_SHARE * at[-1]]
    quarter = max(1, len(warm) // 4)
    return {"early": median(warm[:quarter]), "late": median(warm[-quarter:]), "most": max(values)}


def _processes(samples: Samples) -> list[dict[str, Any]]:
    """Returns each process that ran all the time; those of PostgreSQL, which come and go, as a sum."""
    results = []
    for part in samples.memory[0]:
        if part == "postgres":
            series = {"postgres, all together": [sum(each[part].values()) for each in samples.memory]}
        else:
            stayed = set.intersection(*(set(each[part]) for each in samples.memory))
            series = {f"{part} {pid}": [each[part][pid] for each in samples.memory] for pid in sorted(stayed, key=int)}
        results += [{"process": name, **_early_and_late(samples.at, values)} for name, values in series.items()]
    return results


def _tables(
    done: dict[str, int], weights: dict[str, float], before: list[dict], after: list[dict]
) -> list[dict[str, Any]]:
    """Returns the added rows and bytes, and those expected from the counts of the clients."""
    sign_ins = done["client_sign_ins"] + done["browser_sign_ins"]
    ends = done["client_ends"] + done["browser_ends"]
    predicted = {
        "users": 0,
        "sign-ins": sign_ins,
        "sessions": done["browser_sign_ins"] - done["browser_ends"],
        "security events": sign_ins + ends,
        "blocklist entries": done["client_ends"],
    }
    return [
        {
            "table": old["table"],
            "rows": new["rows"] - old["rows"],
            "predicted_rows": predicted[old["table"]],
            "bytes": new["bytes"] + new["index_bytes"] - old["bytes"] - old["index_bytes"],
            "predicted_bytes": predicted[old["table"]] * weights[old["table"]],
        }
        for old, new in zip(before, after, strict=True)
        if old["table"] in predicted
    ]
