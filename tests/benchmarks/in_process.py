"""Microseconds that authentication adds to DRF's dispatch, and what a sign-in costs beside its password hash."""

from argparse import ArgumentParser, Namespace
from statistics import median

from tests.benchmarks import machine
from tests.benchmarks.output import Progress, say, table
from tests.benchmarks.site.contenders import FLOOR, PASSPORT, STATELESS
from tests.benchmarks.stand import Stand, stand

CONTENDERS = (FLOOR, PASSPORT, STATELESS)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement")
    parser.add_argument("--sign-ins", type=int, default=30)


def run(options: Namespace) -> list[dict[str, object]]:
    with stand() as here:
        dispatch = _dispatch(here, options.rounds, options.seconds)
        with machine.pinned(machine.SERVER_CORE):
            sign_in = here.call("timing.sign_in", times=options.sign_ins)
    floor = dispatch[FLOOR.name]
    added = {name: [mine - its for mine, its in zip(each, floor, strict=True)] for name, each in dispatch.items()}
    table(
        ["", "dispatch, µs", "min-max", "added, µs"],
        [
            [name, f"{median(each):.1f}", f"{min(each):.1f}-{max(each):.1f}", f"{median(added[name]):.1f}"]
            for name, each in dispatch.items()
        ],
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
    results = [
        {"name": name, "microseconds": median(each), "rounds": each, "added": median(added[name])}
        for name, each in dispatch.items()
    ]
    return [*results, {"name": "sign-in", "hash_milliseconds": hash_ms, "rest_milliseconds": rest_ms}]


def _dispatch(here: Stand, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Microseconds by name, round by round, interleaved; each in a new process on the server's core."""
    took: dict[str, list[float]] = {contender.name: [] for contender in CONTENDERS}
    with Progress(rounds * len(CONTENDERS)) as progress, machine.pinned(machine.SERVER_CORE):
        for _ in range(rounds):
            for contender in CONTENDERS:
                progress.at(contender.name)
                seen = here.call("timing.dispatch", contender, credentials=contender.credentials, seconds=seconds)
                took[contender.name].append(seen * 1e6)
                progress.step()
    return took
