"""Microseconds that each middleware adds to a request, and those of Django's own stack."""

from argparse import ArgumentParser, Namespace
from itertools import pairwise
from statistics import median
from typing import Any

from tests.benchmarks import machine
from tests.benchmarks.output import say, table
from tests.benchmarks.stand import stand


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--requests", type=int, default=60, help="of each stack in each round")


def run(options: Namespace) -> list[dict[str, Any]]:
    with stand() as here, machine.pinned(machine.SERVER_CORE):
        measured = here.call("middleware.stacks", rounds=options.rounds, requests=options.requests)
    results = [_result(kind, stacks) for kind, stacks in measured.items()]
    for result in results:
        say(f"{result['name']}: {result['none']:.1f} µs without middleware, {result['stock']:.1f} more with Django's\n")
        rows = [[name, f"{microseconds:.1f}"] for name, microseconds in result["each"].items()]
        table(["middleware", "added, µs"], [*rows, ["all", f"{result['ours']:.1f}"]])
        say()
    return results


def _result(kind: str, stacks: dict[str, list[float]]) -> dict[str, Any]:
    """From the microseconds of each round. `stacks` are the outermost none, one, two ... of ours, and Django's."""
    *ours, stock = stacks.items()
    (_none, none), (_all, whole) = ours[0], ours[-1]
    each = {name: _added(outer, inner) for (_outer, outer), (name, inner) in pairwise(ours)}
    return {
        "name": kind,
        "none": median(none),
        "ours": _added(none, whole),
        "stock": _added(none, stock[1]),
        "each": each,
    }


def _added(less: list[float], more: list[float]) -> float:
    return median(b - a for a, b in zip(less, more, strict=True))
