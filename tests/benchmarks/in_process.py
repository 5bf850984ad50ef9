"""Microseconds that authentication adds to DRF's dispatch, and the cost of a sign-in without its password hash."""

from argparse import ArgumentParser, Namespace
from statistics import median
from typing import Any

from tests.benchmarks import machine
from tests.benchmarks.output import Progress, say, table
from tests.benchmarks.site.contenders import PASSPORT, PASSPORT_BOUND, PASSPORT_ES256, STATELESS, WRISTBAND
from tests.benchmarks.stand import Stand, stand

CONTENDERS = (WRISTBAND, PASSPORT, PASSPORT_ES256, PASSPORT_BOUND, STATELESS)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement")
    parser.add_argument("--sign-ins", type=int, default=30)


def run(options: Namespace) -> list[dict[str, Any]]:
    with stand() as here:
        dispatch = _dispatch(here, options.rounds, options.seconds)
        with machine.pinned(machine.SERVER_CORE):
            sign_in = here.call("timing.sign_in", times=options.sign_ins)
    table(
        ["", "dispatch without, µs", "with, µs", "added, µs", "min-max of the rounds"],
        [_row(each) for each in dispatch],
    )
    say()
    hash_ms, rest_ms = median(sign_in["hash"]), median(sign_in["rest"])
    table(
        ["a sign-in", "ms"],
        [
            ["password hash", f"{hash_ms:.1f}"],
            ["everything else", f"{rest_ms:.1f}"],
            ["everything else, share of the hash", f"{rest_ms / hash_ms:.2f}"],
        ],
    )
    return [*dispatch, {"name": "sign-in", "hash_milliseconds": hash_ms, "rest_milliseconds": rest_ms}]


def _dispatch(here: Stand, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Returns microseconds: medians of the turns of each round, in a new process on the server's core."""
    took: dict[str, list[tuple[float, float, float]]] = {contender.name: [] for contender in CONTENDERS}
    with Progress(rounds * len(CONTENDERS)) as progress, machine.pinned(machine.SERVER_CORE):
        for _ in range(rounds):
            for contender in CONTENDERS:
                progress.at(contender.name)
                turns = here.call("timing.dispatch", contender, credentials=contender.credentials, seconds=seconds)
                added = [ours - floor for floor, ours in zip(turns["floor"], turns["ours"], strict=True)]
                took[contender.name].append(tuple(1e6 * median(each) for each in (*turns.values(), added)))
                progress.step()
    return [_result(name, rounds) for name, rounds in took.items()]


def _result(name: str, rounds: list[tuple[float, float, float]]) -> dict[str, Any]:
    floor, ours, added = (median(each) for each in zip(*rounds, strict=True))
    return {"name": name, "floor": floor, "ours": ours, "added": added, "rounds": [each[2] for each in rounds]}


def _row(result: dict[str, Any]) -> list[str]:
    figures = [f"{result[key]:.1f}" for key in ("floor", "ours", "added")]
    return [result["name"], *figures, f"{min(result['rounds']):.1f}-{max(result['rounds']):.1f}"]
