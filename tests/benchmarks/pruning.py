"""Latency of sign-ins while many rows are pruned."""

import re
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from time import perf_counter

from tests.benchmarks import machine, wire
from tests.benchmarks.load import Tally, drive
from tests.benchmarks.output import Progress, table
from tests.benchmarks.stand import Stand, stand

REQUEST = wire.post("/api/token/", {"username": "ann", "password": wire.PASSWORD})


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=90, help="of quiet")


def run(options: Namespace) -> list[dict[str, object]]:
    with stand() as here, Progress(3) as progress:
        progress.at("making rows")
        here.call("rows.prunable", count=options.rows)
        progress.step()
        with here.node() as node:

            def sign_in() -> None:
                wire.ask(node.url, REQUEST).expect(200)

            drive([sign_in], 2)
            progress.at("quiet")
            quiet = drive([sign_in], options.seconds)
            progress.step()
            progress.at("pruning")
            busy, deleted, took = _while_pruning(here, sign_in)
    results = [
        {"what": what, "p50_milliseconds": tally.latency(0.5) * 1000, "p99_milliseconds": tally.latency(0.99) * 1000,
         "sign_ins": len(tally.latencies)}
        for what, tally in (("quiet", quiet), (f"while {deleted:,} rows are pruned in {took:.0f} s", busy))
    ]  # fmt: skip
    table(
        ["", "sign-ins", "p50, ms", "p99, ms"],
        [
            [r["what"], str(r["sign_ins"]), f"{r['p50_milliseconds']:.0f}", f"{r['p99_milliseconds']:.0f}"]
            for r in results
        ],
    )
    results[1] |= {"deleted": deleted, "seconds": took}
    return results


def _while_pruning(here: Stand, sign_in: Callable[[], None]) -> tuple[Tally, int, float]:
    """Returns latencies of sign-ins during the command, the number of deleted rows, and its duration in seconds."""
    outputs, over = [], threading.Event()

    def prune() -> None:
        with machine.pinned(machine.OTHER_CORES):
            outputs.append(here.manage("prune"))
        over.set()

    latencies = []
    started = perf_counter()
    thread = threading.Thread(target=prune)
    thread.start()
    while not over.is_set():
        before = perf_counter()
        sign_in()
        latencies.append(perf_counter() - before)
    thread.join()
    took = perf_counter() - started
    deleted = sum(map(int, re.findall(r": (\d+) deleted", outputs[0])))
    return Tally(len(latencies) / took, sorted(latencies)), deleted, took
