"""Requests per second of an authenticated user: this project, others, and the same view without authentication."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from statistics import median

from tests import servers
from tests.benchmarks import plot, wire
from tests.benchmarks.load import requests_per_second
from tests.benchmarks.output import Progress, say, table
from tests.benchmarks.site.contenders import ALL, FLOOR, OURS, Contender
from tests.benchmarks.stand import Stand, stand

PATH = "/whoami/"
WARM_UP_SECONDS = 1.0

# Requests per second, by contender, round by round.
Rates = dict[Contender, list[float]]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement; wrk takes whole seconds")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="those with NAME in their name")
    parser.add_argument("--plot", metavar="FILE.svg", help="draw the shares as a bar chart")


def run(options: Namespace) -> list[dict[str, object]]:
    rates = measure(chosen(options.only), options.rounds, options.seconds)
    results = [_result(contender, rates) for contender in rates]
    table(
        ["", "requests/s", "min-max", "share of the floor", "min-max"],
        [[result["name"], *_figures(result)] for result in results],
    )
    if options.plot:
        plot.write(options.plot, [(each["name"], each["share"]) for each in results if each["share"]], OURS_NAMES)
    return results


OURS_NAMES = {contender.name for contender in OURS}


def chosen(names: Sequence[str]) -> list[Contender]:
    contenders = []
    for contender in ALL:
        if names and not any(name.lower() in contender.name.lower() for name in names):
            continue
        if contender.missing:
            say(f"{contender.name}: skipped, {', '.join(contender.missing)} is not installed")
            continue
        contenders.append(contender)
    return contenders


def measure(contenders: Sequence[Contender], rounds: int, seconds: float) -> Rates:
    """Measures interleaved, so that other load on the machine affects all alike; a new server each time."""
    rates: Rates = {contender: [] for contender in contenders}
    with stand() as here, Progress(rounds * len(contenders)) as progress:
        headers = {contender: here.call(contender.credentials, contender) for contender in contenders}
        for _ in range(rounds):
            for contender in contenders:
                progress.at(contender.name)
                rates[contender].append(_measure_once(here, contender, headers[contender], seconds))
                progress.step()
    return rates


def _measure_once(here: Stand, contender: Contender, headers: Mapping[str, str], seconds: float) -> float:
    with here.node(contender) as node:
        _check(node, headers)
        requests_per_second(node.url, PATH, headers, min(seconds, WARM_UP_SECONDS))
        rate = requests_per_second(node.url, PATH, headers, seconds)
        _check(node, headers)
    return rate


def _check(node: servers.Node, headers: Mapping[str, str]) -> None:
    answer = wire.ask(node.url, wire.get(PATH, headers)).expect(200)
    if answer.json() != {"id": 1, "username": "ann"}:
        raise wire.Failed(f"not ann: {answer.body!r}")


def _result(contender: Contender, rates: Rates) -> dict[str, object]:
    shares = [rate / floor for rate, floor in zip(rates[contender], rates.get(FLOOR, ()), strict=False)]
    return {
        "name": contender.name,
        "requests_per_second": median(rates[contender]),
        "rounds": rates[contender],
        # Each round relative to the baseline of that round.
        "share": median(shares) if shares else None,
        "shares": shares,
    }


def _figures(result: dict) -> list[str]:
    rounds, shares = result["rounds"], result["shares"]
    figures = [f"{result['requests_per_second']:.0f}", f"{min(rounds):.0f}-{max(rounds):.0f}"]
    return figures + ([f"{result['share']:.2f}", f"{min(shares):.2f}-{max(shares):.2f}"] if shares else ["", ""])
