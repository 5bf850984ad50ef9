"""How many successors a refresh token has after a race, and whether its reuse ends the sign-in."""

import time
from argparse import ArgumentParser, Namespace
from concurrent.futures import ThreadPoolExecutor

from tests import servers
from tests.benchmarks import wire
from tests.benchmarks.output import Progress, table
from tests.benchmarks.stand import stand

PATH = "/api/token/refresh/"
WORKERS = 4
GRACE_SECONDS = 5


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--families", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=10, help="refreshes of one token")


def run(options: Namespace) -> list[dict[str, object]]:
    successors, ended = measure(options.families, options.at_once)
    table(
        ["", "families", "as expected"],
        [
            [f"{options.at_once} refreshes at once: one successor", str(len(successors)), str(successors.count(1))],
            ["a replayed token ends its family", str(len(successors)), str(ended)],
        ],
    )
    race = {"families": len(successors), "at_once": options.at_once, "successors": max(successors)}
    return [{"what": "race"} | race, {"what": "replay", "families": len(successors), "ended": ended}]


def measure(families: int, at_once: int) -> tuple[list[int], int]:
    """Returns the number of different successors of each token, and how many families a replay ended."""
    with stand() as here, Progress(2 * families) as progress:
        first = [each["refresh"] for each in here.call("credentials.passports", count=families)]
        with servers.node(here.env | {"REFRESH_GRACE_SECONDS": str(GRACE_SECONDS)}, WORKERS) as node:
            latest, counts = [], []
            for token in first:
                progress.at("racing")
                pairs = _race(node.url, token, at_once)
                latest.append(pairs[0])
                counts.append(len({pair["refresh"] for pair in pairs}))
                progress.step()
            time.sleep(GRACE_SECONDS + 1)
            ended = 0
            for token, pair in zip(first, latest, strict=True):
                progress.at("replaying")
                _refresh(node.url, token).expect(401)
                ended += _is_refused(node.url, pair)
                progress.step()
    return counts, ended


def _race(url: str, token: str, at_once: int) -> list[dict[str, str]]:
    with ThreadPoolExecutor(at_once) as pool:
        answers = list(pool.map(lambda _number: _refresh(url, token), range(at_once)))
    return [answer.expect(200).json() for answer in answers]


def _refresh(url: str, token: str) -> wire.Answer:
    return wire.ask(url, wire.post(PATH, {"refresh": token}))


def _is_refused(url: str, pair: dict[str, str]) -> bool:
    """Whether both tokens of the successor are refused."""
    access = wire.ask(url, wire.get("/api/me/", wire.HTTPS | wire.bearer(pair["access"])))
    return access.status == 401 and _refresh(url, pair["refresh"]).status == 401
