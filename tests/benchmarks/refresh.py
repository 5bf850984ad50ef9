"""Refreshes per second of this project and of SimpleJWT with rotation and blacklist."""

import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from statistics import median

from tests.benchmarks import wire
from tests.benchmarks.load import CLIENTS, drive, refreshes_per_second
from tests.benchmarks.output import Progress, table
from tests.benchmarks.site.contenders import PASSPORT, SIMPLEJWT_ROTATION
from tests.benchmarks.stand import stand

PATH = "/api/token/refresh/"
WARM_UP_SECONDS = 0.5
# Name, and function that returns the first tokens of its chains.
CONTENDERS = {PASSPORT: "credentials.passports", SIMPLEJWT_ROTATION: "peer_credentials.simplejwt_pairs"}


class Chain:
    """A client that refreshes with its latest refresh token."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token

    def refresh(self) -> None:
        answer = wire.ask(self.url, wire.post(PATH, {"refresh": self.token})).expect(200).json()
        if answer["refresh"] == self.token:
            raise wire.Failed("the refresh token was not rotated")
        self.token = answer["refresh"]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")


def run(options: Namespace) -> list[dict[str, object]]:
    rates = measure(options.rounds, options.seconds)
    ours, theirs = rates.values()
    ratios = [mine / their for mine, their in zip(ours, theirs, strict=True)]
    table(
        ["", "refreshes/s", "min-max"],
        [[name, f"{median(each):.0f}", f"{min(each):.0f}-{max(each):.0f}"] for name, each in rates.items()]
        + [["ratio", f"{median(ratios):.2f}", f"{min(ratios):.2f}-{max(ratios):.2f}"]],
    )
    results = [{"name": name, "refreshes_per_second": median(each), "rounds": each} for name, each in rates.items()]
    return [*results, {"name": "ratio", "ratio": median(ratios), "rounds": ratios}]


def measure(rounds: int, seconds: float) -> dict[str, list[float]]:
    """Returns rates by name and round, interleaved; each client has its own chain of tokens."""
    rates: dict[str, list[float]] = {contender.name: [] for contender in CONTENDERS}
    with stand() as here, Progress(rounds * len(CONTENDERS)) as progress:
        for _ in range(rounds):
            for contender, chains in CONTENDERS.items():
                progress.at(contender.name)
                tokens = here.call(chains, contender, count=2 * CLIENTS)
                with here.node(contender) as node:
                    _refreshes_per_second(node.url, tokens[CLIENTS:], min(seconds, WARM_UP_SECONDS))
                    rates[contender.name].append(_refreshes_per_second(node.url, tokens[:CLIENTS], seconds))
                progress.step()
    return rates


def _refreshes_per_second(url: str, pairs: Sequence[dict[str, str]], seconds: float) -> float:
    """Measured by wrk if installed, since clients in Python compete with the stores for their core."""
    tokens = [pair["refresh"] for pair in pairs]
    if shutil.which("wrk"):
        return refreshes_per_second(url, PATH, tokens, seconds)
    return drive([Chain(url, token).refresh for token in tokens], seconds).per_second
