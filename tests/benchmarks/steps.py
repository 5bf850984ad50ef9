"""Microseconds of a request that each step between the baseline and this project adds."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from tests.benchmarks.output import table
from tests.benchmarks.requests import Rates, measure
from tests.benchmarks.site.contenders import FLOOR, STEPS, Contender
from tests.benchmarks.stand import stand


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement; wrk takes whole seconds")


def run(options: Namespace) -> list[dict[str, object]]:
    contenders = list(dict.fromkeys(step for steps in STEPS.values() for step in steps))
    with stand() as here:
        rates = measure(here, contenders, options.rounds, options.seconds)
    results = [result for mode, steps in STEPS.items() for result in _results(mode, steps, rates)]
    table(
        ["", "", "µs", "more than before", "min-max", "share of the floor"],
        [[str(each["mode"]), str(each["name"]), *_figures(each)] for each in results],
    )
    return results


def _results(mode: str, steps: Sequence[Contender], rates: Rates) -> list[dict[str, object]]:
    took = {step: [1e6 / rate for rate in rates[step]] for step in steps}
    more = {step: _differences(took[step], took[before]) for before, step in pairwise(steps)}
    return [
        {
            "mode": mode,
            "name": step.name,
            "microseconds": median(took[step]),
            "more": median(more[step]) if step in more else None,
            # Each round relative to the previous step in that round.
            "rounds": more.get(step, []),
            "share": median(floor / own for floor, own in zip(took[FLOOR], took[step], strict=True)),
        }
        for step in steps
    ]


def _differences(own: Sequence[float], before: Sequence[float]) -> list[float]:
    return [ours - theirs for ours, theirs in zip(own, before, strict=True)]


def _figures(result: dict) -> list[str]:
    rounds = result["rounds"]
    more = [f"{result['more']:+.0f}", f"{min(rounds):+.0f} to {max(rounds):+.0f}"] if rounds else ["", ""]
    return [f"{result['microseconds']:.0f}", *more, f"{result['share']:.2f}"]
