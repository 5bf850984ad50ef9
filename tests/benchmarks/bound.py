"""Requests per second of both modes with sessions bound to the device (DBSC), as ratios to DBSC=off."""

from argparse import ArgumentParser, Namespace
from statistics import median
from typing import Any

from tests.benchmarks.output import table
from tests.benchmarks.requests import measure
from tests.benchmarks.site.contenders import BINDING
from tests.benchmarks.stand import stand


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement; wrk takes whole seconds")


def run(options: Namespace) -> list[dict[str, Any]]:
    """The ratio of each round is that of two measurements one after the other, since the machine's speed varies."""
    contenders = list(dict.fromkeys(each for pair in BINDING for each in pair))
    with stand() as here:
        rates = measure(here, contenders, options.rounds, options.seconds)
    results: list[dict[str, Any]] = []
    for off, offered in BINDING:
        ratios = [after / before for before, after in zip(rates[off], rates[offered], strict=True)]
        middles = {"off": median(rates[off]), "offered": median(rates[offered]), "ratio": median(ratios)}
        results.append({"name": offered.name} | middles)
    rows = [[each["name"], f"{each['off']:.0f}", f"{each['offered']:.0f}", f"{each['ratio']:.3f}"] for each in results]
    table(["", "off, requests/s", "offered", "ratio"], rows)
    return results
