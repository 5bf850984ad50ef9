"""Whether the duration of a refused sign-in reveals that an account exists."""

from argparse import ArgumentParser, Namespace
from ipaddress import ip_address
from itertools import count
from statistics import median
from timeit import default_timer

from tests.benchmarks import wire
from tests.benchmarks.output import Progress, table
from tests.benchmarks.stand import stand

KINDS = ["known", "unknown", "inactive", "unusable"]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--tries", type=int, default=200, help="of each kind")


def run(options: Namespace) -> list[dict[str, object]]:
    took = measure(options.tries)
    of_known = median(took["known"])
    results = [
        {
            "kind": kind,
            "milliseconds": median(each),
            "ratio": median(each) / of_known,
            "quarters": [sorted(each)[len(each) // 4], sorted(each)[len(each) * 3 // 4]],
            "tries": len(each),
        }
        for kind, each in took.items()
    ]
    table(
        ["", "median, ms", "the middle half", "ratio"],
        [
            [
                each["kind"],
                f"{each['milliseconds']:.1f}",
                "-".join(f"{quarter:.1f}" for quarter in each["quarters"]),
                f"{each['ratio']:.3f}",
            ]
            for each in results
        ],
    )
    return results


def measure(tries: int) -> dict[str, list[float]]:
    """Returns milliseconds by kind of account."""
    took: dict[str, list[float]] = {kind: [] for kind in KINDS}
    first = int(ip_address("10.0.0.1"))
    addresses = (str(ip_address(first + number)) for number in count())
    with stand() as here, Progress(tries * len(KINDS)) as progress:
        here.call("rows.people", count=tries)
        with here.node() as node:
            for number in range(-3, tries):
                # Each kind comes first equally often.
                turn = number % len(KINDS)
                for kind in KINDS[turn:] + KINDS[:turn]:
                    progress.at(kind)
                    name = f"{kind}-{number}" if number >= 0 else f"warm-up-{number}"
                    request = wire.post(
                        "/api/token/",
                        {"username": name, "password": wire.PASSWORD},
                        {"X-Forwarded-For": next(addresses)},
                    )
                    started = default_timer()
                    wire.ask(node.url, request).expect(401)
                    if number >= 0:
                        took[kind].append((default_timer() - started) * 1000)
                        progress.step()
    return took
