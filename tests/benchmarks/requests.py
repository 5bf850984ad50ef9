"""Requests per second of a signed-in user as deployed, as a share of a stock project's view without authentication."""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from tests import servers
from tests.benchmarks import plot, wire
from tests.benchmarks.load import requests_per_second
from tests.benchmarks.output import Progress, say, table
from tests.benchmarks.site.contenders import (
    ALL,
    CACHED_SESSIONS,
    DEPLOYED_FLOOR,
    FLOOR,
    OPEN,
    OURS,
    PASSPORT,
    STATELESS,
    WRISTBAND,
    Contender,
    deployed,
)
from tests.benchmarks.stand import Counts, Stand, stand

WARM_UP_SECONDS = 1.0
# Until the process has loaded its blocklist.
LOADING_SECONDS = 2.0
# To count what one request asks of the stores.
COUNTED_REQUESTS = 200
RATIOS = ((PASSPORT, STATELESS), (WRISTBAND, CACHED_SESSIONS))
OURS_NAMES = {contender.name for contender in (OPEN, *OURS)}

# Requests per second, by contender, round by round.
Rates = dict[Contender, list[float]]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bare-rounds", type=int, default=2, help="of the second column, without middlewares")
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement; wrk takes whole seconds")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="those with NAME in their name")
    parser.add_argument("--plot", metavar="FILE.svg", help="draw the shares as a bar chart")


def run(options: Namespace) -> list[dict[str, Any]]:
    bare = chosen(options.only, ALL)
    # By name: the floor of the second column is another view.
    whole = {
        each.name: DEPLOYED_FLOOR if each is FLOOR else OPEN if each is OPEN else deployed(each)
        for each in chosen(options.only, (FLOOR, OPEN, *ALL[1:]))
    }
    with stand() as here:
        here.add_stock_site()
        counts = count(here, list(whole.values()))
        rates = measure(here, list(whole.values()), options.rounds, options.seconds)
        bare_rates = measure(here, bare, options.bare_rounds, options.seconds)
    results = [
        {"name": name, **figures(rates, each, DEPLOYED_FLOOR), **asdict(counts[each])} for name, each in whole.items()
    ]
    bare_results = {each.name: figures(bare_rates, each, FLOOR) for each in bare if options.bare_rounds}
    results = [each | {"bare": bare_results.get(each["name"])} for each in results]
    results += ratios({name: rates[each] for name, each in whole.items()})
    show(results)
    if options.plot:
        plot.write(options.plot, [(each["name"], each["share"]) for each in results if each.get("share")], OURS_NAMES)
    return results


def chosen(names: Sequence[str], contenders: Sequence[Contender]) -> list[Contender]:
    found = []
    for contender in contenders:
        if names and not any(name.lower() in contender.name.lower() for name in names):
            continue
        if contender.missing:
            say(f"{contender.name}: skipped, {', '.join(contender.missing)} is not installed")
            continue
        found.append(contender)
    return found


def count(here: Stand, contenders: Sequence[Contender]) -> dict[Contender, Counts]:
    """Returns what one request of a warm server asks of the stores, as both stores count it."""
    counts = {}
    with here.statements_logged(), Progress(len(contenders)) as progress:
        for contender in contenders:
            progress.at(f"counting: {contender.name}")
            request = wire.get(contender.path, headers_of(here, contender))
            with here.node(contender) as node:
                counts[contender] = count_requests(here, node.url, request)
            progress.step()
    return counts


def count_requests(here: Stand, url: str, request: bytes) -> Counts:
    """The server has connections whose statements are logged."""
    loaded_at = time.monotonic() + LOADING_SECONDS
    while time.monotonic() < loaded_at:
        wire.ask(url, request).expect(200)
    before = here.counts()
    for _ in range(COUNTED_REQUESTS):
        wire.ask(url, request).expect(200)
    return here.counts().since(before, COUNTED_REQUESTS)


def headers_of(here: Stand, contender: Contender) -> dict[str, str]:
    return wire.PROXIED | here.call(contender.credentials, contender)


def measure(here: Stand, contenders: Sequence[Contender], rounds: int, seconds: float) -> Rates:
    """Measures interleaved, so that other load on the machine affects all alike; a new server each time."""
    rates: Rates = {contender: [] for contender in contenders}
    with Progress(rounds * len(contenders)) as progress:
        headers = {contender: headers_of(here, contender) for contender in contenders}
        for _ in range(rounds):
            for contender in contenders:
                progress.at(contender.name)
                rates[contender].append(_measure_once(here, contender, headers[contender], seconds))
                progress.step()
    return rates


def _measure_once(here: Stand, contender: Contender, headers: Mapping[str, str], seconds: float) -> float:
    with here.node(contender) as node:
        _check(node, contender.path, headers)
        requests_per_second(node.url, contender.path, headers, min(seconds, WARM_UP_SECONDS))
        rate = requests_per_second(node.url, contender.path, headers, seconds)
        _check(node, contender.path, headers)
    return rate


def _check(node: servers.Node, path: str, headers: Mapping[str, str]) -> None:
    answer = wire.ask(node.url, wire.get(path, headers)).expect(200)
    if answer.json() != {"id": 1, "username": "ann"}:
        raise wire.Failed(f"not ann: {answer.body!r}")


def figures(rates: Rates, contender: Contender, floor: Contender) -> dict[str, Any]:
    # Each round relative to the baseline of that round.
    shares = [rate / base for rate, base in zip(rates[contender], rates.get(floor, ()), strict=False)]
    return {
        "requests_per_second": median(rates[contender]),
        "rounds": rates[contender],
        "share": median(shares) if shares else None,
        "shares": shares,
    }


def ratios(rates: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """Of contenders in the same round."""
    found = []
    for ours, theirs in RATIOS:
        if ours.name in rates and theirs.name in rates:
            each = [a / b for a, b in zip(rates[ours.name], rates[theirs.name], strict=True)]
            found.append({"name": f"{ours.name} / {theirs.name}", "ratio": median(each), "rounds": each})
    return found


def show(results: Sequence[dict[str, Any]]) -> None:
    table(
        ["", "requests/s", "share of the floor", "min-max", "statements", "Redis commands", "bare: share", "min-max"],
        [_row(each) for each in results if "share" in each],
    )
    say()
    table(
        ["ratio", "", "min-max"],
        [[each["name"], *_spread(each["ratio"], each["rounds"])] for each in results if "ratio" in each],
    )


def _row(result: dict[str, Any]) -> list[str]:
    bare = result["bare"] or {"share": None, "shares": []}
    return [
        result["name"],
        f"{result['requests_per_second']:.0f}",
        *_spread(result["share"], result["shares"]),
        f"{result['statements']:.2f}",
        f"{result['redis_commands']:.2f}",
        *_spread(bare["share"], bare["shares"]),
    ]


def _spread(middle: float | None, rounds: Sequence[float]) -> list[str]:
    return ["", ""] if middle is None else [f"{middle:.2f}", f"{min(rounds):.2f}-{max(rounds):.2f}"]
