"""Speed by size of the blocklist and of the table of sign-ins."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import cycle
from math import inf
from statistics import median
from timeit import timeit

from tests.benchmarks import wire
from tests.benchmarks.load import CLIENTS, Step, Tally, drive
from tests.benchmarks.output import Progress, say, table
from tests.benchmarks.refresh import Chain
from tests.benchmarks.site.contenders import PASSPORT, WRISTBAND, Contender
from tests.benchmarks.stand import Stand, stands

BLOCKED = [0, 10_000, 1_000_000]
SIGN_INS = [1_000, 1_000_000]
WARM_UP_SECONDS = 1.0
# Fast checks in a row that show a loaded blocklist, and the seconds after which it should be loaded.
A_FEW = 50
GIVE_UP_SECONDS = 120
# By the name of the measurement of its checks.
MODES = {"check, by blocked ids": ("token", PASSPORT), "check of a session, by blocked ids": ("session", WRISTBAND)}
# The number of sign-ins in use, evenly spread.
USED = 1_000

Pairs = list[dict[str, str]]


@dataclass
class Series:
    """The results of one kind of request at one size, by round."""

    what: str
    size: int
    rates: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)

    def note(self, tally: Tally) -> None:
        self.rates.append(tally.per_second)
        self.p99.append(tally.latency(0.99) * 1000)


@dataclass
class Load:
    """The load of a blocklist in a new process: its duration and the slowest check, in seconds."""

    mode: str
    rows: int
    seconds: float
    slowest: float


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--blocked", type=int, nargs="+", default=BLOCKED, help="sizes of the blocklist")
    parser.add_argument("--sign-ins", type=int, nargs="+", default=SIGN_INS, help="numbers of sign-ins")


def run(options: Namespace) -> list[dict[str, object]]:
    groups, loads = measure_checks(options.blocked, options.rounds, options.seconds)
    groups += measure_sign_ins(options.sign_ins, options.rounds, options.seconds)
    results = [result for group in groups for result in _results(group)]
    table(
        ["", "rows", "per second", "min-max", "share of the smallest", "p99, ms"],
        [
            [
                result["what"],
                f"{result['rows']:,}",
                f"{result['per_second']:.0f}",
                f"{min(result['rounds']):.0f}-{max(result['rounds']):.0f}",
                f"{result['share']:.2f}",
                f"{result['p99_milliseconds']:.1f}",
            ]
            for result in results
        ],
    )
    say()
    table(
        ["a new process, by blocked ids", "s until checks are fast", "slowest check until then, ms"],
        [[f"{each.mode} mode, {each.rows:,}", f"{each.seconds:.1f}", f"{each.slowest * 1000:.0f}"] for each in loads],
    )
    return results + [{"what": "load", **asdict(each)} for each in loads]


def _results(group: Sequence[Series]) -> Iterator[dict]:
    for series in group:
        yield {
            "what": series.what,
            "rows": series.size,
            "per_second": median(series.rates),
            "rounds": series.rates,
            # Each round relative to the smallest size in that round.
            "share": median(rate / base for rate, base in zip(series.rates, group[0].rates, strict=True)),
            "p99_milliseconds": median(series.p99),
        }


def measure_checks(sizes: Sequence[int], rounds: int, seconds: float) -> tuple[list[list[Series]], list[Load]]:
    """Returns the checks of each mode, and the loads of the blocklist by new processes."""
    groups, loads = [], []
    with ExitStack() as stack:
        heres = stack.enter_context(stands(len(sizes)))
        for here, size in zip(heres, sizes, strict=True):
            here.call("rows.block", count=size)
        for what, (mode, contender) in MODES.items():
            with ExitStack() as nodes:
                checks = [_check(nodes, here, contender) for here in heres]
                loads += _load(mode, sizes, checks)
                turns = [cycle([[check] * CLIENTS]) for check in checks]
                groups.append(_interleave(what, sizes, turns, rounds, seconds))
    return groups, loads


def _check(nodes: ExitStack, here: Stand, contender: Contender) -> Step:
    """Starts a server; returns a request to it."""
    headers = here.call(contender.credentials, contender)
    url = nodes.enter_context(here.node(contender)).url
    return partial(_ask, url, wire.get(contender.path, headers))


def _load(mode: str, sizes: Sequence[int], checks: Sequence[Step]) -> Iterator[Load]:
    """Checks are slow while a new process queries the database, until the blocklist is loaded."""
    usual = inf
    for size, check in zip(sizes, checks, strict=True):
        took: list[float] = []
        # Up to twice the duration of the smallest blocklist it may be noise, and not a load.
        while len(took) < 2 * A_FEW or median(took[-A_FEW:]) > 2 * usual:
            took.append(timeit(check, number=1))
            if sum(took) > GIVE_UP_SECONDS:
                raise wire.Failed(f"checks are slow after {GIVE_UP_SECONDS} s with {size:,} blocked ids")
        usual = min(usual, median(took[-A_FEW:]))
        yield Load(mode, size, sum(took[:-A_FEW]), max(took))


def measure_sign_ins(sizes: Sequence[int], rounds: int, seconds: float) -> list[list[Series]]:
    with ExitStack() as stack:
        urls, tokens = [], []
        for here, size in zip(stack.enter_context(stands(len(sizes))), sizes, strict=True):
            tokens.append(here.call("rows.sign_in", count=size, tokens=min(size, USED)))
            urls.append(stack.enter_context(here.node()).url)
        groups = []
        # Refreshed sign-ins are not ended.
        for what, steps, half in (("list", _lists, 0), ("refresh", _refreshes, 0), ("end", _ends, 1)):
            turns = [_turns(steps, url, pairs[half::2], rounds) for url, pairs in zip(urls, tokens, strict=True)]
            groups.append(_interleave(f"{what}, by sign-ins", sizes, turns, rounds, seconds))
    return groups


def _interleave(
    what: str, sizes: Sequence[int], turns: Sequence[Iterator[list[Step]]], rounds: int, seconds: float
) -> list[Series]:
    """Interleaves the turns of all sizes, each on its own server; the first turn is a warm-up."""
    group = [Series(what, size) for size in sizes]
    with Progress((rounds + 1) * len(sizes)) as progress:
        for each in range(rounds + 1):
            for series, steps in zip(group, turns, strict=True):
                progress.at(f"{what}: {series.size:,}")
                tally = drive(next(steps), seconds if each else min(seconds, WARM_UP_SECONDS))
                if each:
                    series.note(tally)
                progress.step()
    return group


def _turns(steps: Callable[[str, Pairs], list[Step]], url: str, pairs: Pairs, rounds: int) -> Iterator[list[Step]]:
    """Each turn has its own tokens, since clients do not store tokens between turns."""
    for turn in range(rounds + 1):
        yield steps(url, pairs[turn :: rounds + 1])


def _lists(url: str, pairs: Pairs) -> list[Step]:
    headers = [wire.HTTPS | wire.bearer(pair["access"]) for pair in pairs]
    return _spread([partial(_ask, url, wire.get("/api/sign-ins/", each)) for each in headers], cycle)


def _refreshes(url: str, pairs: Pairs) -> list[Step]:
    return _spread([Chain(url, pair["refresh"]).refresh for pair in pairs], cycle)


def _ends(url: str, pairs: Pairs) -> list[Step]:
    requests = [wire.post("/api/token/blacklist/", {"refresh": pair["refresh"]}) for pair in pairs]
    return _spread([partial(_ask, url, request) for request in requests], iter)


def _spread(calls: Sequence[Step], order: Callable[[Iterable[Step]], Iterator[Step]]) -> list[Step]:
    return [_next_of(order(calls[client::CLIENTS])) for client in range(CLIENTS)]


def _next_of(calls: Iterator[Step]) -> Step:
    return lambda: next(calls)()


def _ask(url: str, request: bytes) -> None:
    wire.ask(url, request).expect(200)
