"""An estimate for 100 million users, from the stored results of limits, sizes, storm and pruning."""

import json
import re
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import limits, sizes, storm
from tests.benchmarks.output import say, table

RESULTS = Path(__file__).parent / "results"
DAY = 86_400


@dataclass(frozen=True)
class Assumed:
    """Assumptions, none of them measured. Settings have their defaults."""

    users: float = 100e6
    sign_ins_per_user: float = 1.5
    token_share: float = 0.5
    # At peak: the share of sign-ins in use, and the seconds between two calls of one of them.
    in_use: float = 0.1
    call_every: float = 30
    # The ratio of peak to mean, for sign-ins and ends.
    peak: float = 3
    # A sign-in lasts up to SIGN_IN_MAX_DAYS; the share of sign-ins that are ended before.
    sign_in_days: float = 30
    ended_share: float = 0.5
    events_per_sign_in: float = 2
    # ACCESS_TOKEN_MINUTES, and the interval at which the last use of a browser is stored.
    refresh_every: float = 300
    # An entry is effective for ACCESS_TOKEN_MINUTES, JWT_LEEWAY_SECONDS and five minutes, and in a mirror for up to
    # five more; its row is deleted a day later.
    in_mirror: float = 300 + 15 + 300 + 300
    sign_in_keep_days: float = 30
    event_keep_days: float = 365
    # The interval at which a process polls the database (mirror.POLL_SECONDS).
    read_every: float = 0.8


MEANT = {
    "users": "users",
    "sign_ins_per_user": "live sign-ins of a user",
    "token_share": "share of them in token mode",
    "in_use": "share of them in use at the busiest moment",
    "call_every": "seconds between two calls of one in use",
    "peak": "sign-ins and ends at the busiest moment, times the mean",
    "sign_in_days": "days that a sign-in lasts",
    "ended_share": "share of them that is ended, and not left to run out",
    "events_per_sign_in": "events that a sign-in leaves in the end",
}


def add_arguments(parser: ArgumentParser) -> None:
    for command, names in KEPT.items():
        files = [RESULTS / f"{name}.json" for name in names]
        parser.add_argument(f"--{command}", type=Path, nargs="+", default=files, metavar="FILE")
    for name, meaning in MEANT.items():
        default = getattr(Assumed(), name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=default, help=meaning)
    parser.add_argument("--short", action="store_true", help="only the lines that README.md beside it has")


# The lines in README.md; `how` is in the full list.
SHORT = (
    "refreshes",
    "calls, in each mode",
    "writes on the sign-in table",
    "PostgreSQL's log",
    "application: cores, and processes",
    "PostgreSQL: session mode",
    "PostgreSQL: writes",
    "PostgreSQL: mirrors' reads",
    "memory of each mirror",
    "messages that Valkey delivers",
    "a storm of a million: memory of each mirror",
    "sign-ins: rows",
    "sign-ins: bytes",
    "events: bytes",
    "`prune`",
)

# The results of each command: the storm of a million, and the storm with the most processes.
KEPT = {"limits": ["limits"], "sizes": ["sizes"], "storm": ["storm", "storm_wide"], "pruning": ["pruning"]}


def run(options: Namespace) -> list[dict[str, Any]]:
    measured: dict[str, list[dict]] = {}
    for command in KEPT:
        files = [json.loads(file.read_text()) for file in getattr(options, command)]
        measured[command] = [result for file in files for result in file["results"]]
        for file in files:
            say(f"Measured: `{file['command']}`, {file['date']}")
    assumed = Assumed(**{name: getattr(options, name) for name in MEANT})
    results = reckon(assumed, **measured)
    if options.short:
        _show_short(measured, results)
        return results
    for module, command in ((limits, "limits"), (storm, "storm"), (sizes, "sizes")):
        say()
        module.show(measured[command])
    say("\nAssumed:\n")
    table(["", ""], [[meaning, f"{getattr(assumed, name):,.10g}"] for name, meaning in MEANT.items()])
    say("\nReckoned:\n")
    table(["", "", "how"], [[each["what"], _short(each["value"], each["unit"]), each["how"]] for each in results])
    return results


def _show_short(measured: dict[str, list[dict]], results: list[dict[str, Any]]) -> None:
    one, *others = ([each for each in measured["limits"] if each["nodes"] == nodes] for nodes in (1, 3))
    say()
    table(
        [
            "",
            "one node, a second (min-max; clients; p99)",
            "three on the same core",
            "CPU: application, ms",
            "PostgreSQL, ms",
        ],
        [
            [mine["what"], _rate(mine), *map(_rate, rest), *(f"{mine['cpu_milliseconds'][p]:.2f}" for p in CPU)]
            for mine, *rest in zip(one, *others, strict=True)
        ],
    )
    say()
    storm.show(measured["storm"], storm.SHORT)
    say()
    by_name = {each["what"]: each for each in results}
    table(["", ""], [[what, _short(by_name[what]["value"], by_name[what]["unit"])] for what in SHORT])


CPU = ("application", "postgres")


def _rate(each: dict) -> str:
    fewest, most = limits.extremes(each)
    about = f"{fewest:,.0f}-{most:,.0f}; {each['clients']:.0f}; {each['p99_milliseconds']:.0f} ms"
    return f"{each['per_second']:,.0f} ({about})"


def reckon(
    assumed: Assumed, limits: list[dict], sizes: list[dict], storm: list[dict], pruning: list[dict]
) -> list[dict[str, Any]]:
    cost = {each["what"]: each for each in limits if each["nodes"] == 1}
    weight = {each["table"]: _per_row(each) for each in sizes}
    # The larger storm gives the cost of the mirror, the one with most processes the idle cost of each.
    largest = max(storm, key=lambda each: each["revocations"])
    widest = max(storm, key=lambda each: each["processes"])
    lines: list[dict[str, Any]] = []

    def tell(what: str, value: float, unit: str, how: str) -> float:
        lines.append({"what": what, "value": value, "unit": unit, "how": how})
        return value

    def app(kind: str) -> float:
        return cost[kind]["cpu_milliseconds"]["application"] / 1000

    def postgres(kind: str) -> float:
        return cost[kind]["cpu_milliseconds"]["postgres"] / 1000

    live = assumed.users * assumed.sign_ins_per_user
    in_use = live * assumed.in_use
    by_token, by_session = in_use * assumed.token_share, in_use * (1 - assumed.token_share)
    calls_by_token, calls_by_session = by_token / assumed.call_every, by_session / assumed.call_every
    new = live / assumed.sign_in_days / DAY

    # At peak
    sign_ins = tell("sign-ins", new * assumed.peak, "a second", "live sign-ins / their days, at the peak")
    ends = tell("ends", sign_ins * assumed.ended_share, "a second", "a share of the sign-ins")
    refreshes = tell("refreshes", by_token / assumed.refresh_every, "a second", "one in use refreshes in 5 min")
    seen = tell("notes of last use", by_session / assumed.refresh_every, "a second", "a browser in use: one in 5 min")
    tell("calls, in each mode", calls_by_token, "a second", f"one in {assumed.call_every:g} s")
    updates = tell("writes on the sign-in table", sign_ins + ends + refreshes + seen, "a second", "the sum of these")
    wal = cost["refresh"]["wal_bytes"] * (refreshes + seen) + cost["sign-in"]["wal_bytes"] * (sign_ins + ends)
    tell("PostgreSQL's log", wal, "B/s", "bytes of a refresh, and of a sign-in for ends too; without full pages")
    cores = calls_by_token * app(_BY_TOKEN) + calls_by_session * app(_BY_SESSION)
    cores += refreshes * app("refresh") + sign_ins * app("sign-in")
    processes = tell("application: cores, and processes", cores, "", "CPU of each kind of request, at full load")
    tell("of these for passwords", sign_ins * app("sign-in"), "cores", "CPU of a sign-in")
    session_cores = calls_by_session * postgres(_BY_SESSION)
    tell("PostgreSQL: session mode", session_cores, "cores", "CPU of `/api/me/` there")
    writes_cores = (refreshes + seen) * postgres("refresh") + (sign_ins + ends) * postgres("sign-in")
    tell("PostgreSQL: writes", writes_cores, "cores", "CPU of a refresh, and of a sign-in for ends too")
    token_cores = calls_by_token * postgres(_BY_TOKEN)
    tell("PostgreSQL: what `/api/me/` reads in token mode", token_cores, "cores", "its view; the check reads nothing")

    # The cost of a mirror in each process
    read = widest["quiet_postgres_cpu_share"] / widest["processes"]
    tell("PostgreSQL: mirrors' reads", processes * read, "cores", f"CPU in quiet by {widest['processes']:,} processes")
    tell("the same, statements", processes / assumed.read_every, "a second", "one in 0.8 s for each process")
    client_ends = ends * assumed.token_share
    blocked = tell("ids in each mirror", client_ends * assumed.in_mirror, "", "ends of clients in 15 min")
    id_bytes = largest["mirror_bytes"] / largest["revocations"]
    tell("memory of each mirror", blocked * id_bytes, "B", f"{id_bytes:.0f} bytes an id")
    tell("messages that Valkey delivers", client_ends * processes, "a second", "ends of clients, to every process")
    tell("its bytes", client_ends * processes * NEWS_BYTES, "B/s", f"{NEWS_BYTES} bytes to each for one id")
    tell("a storm of a million: memory of each mirror", 1e6 * id_bytes, "B", "a million ids")
    tell("its news", 1e6 * ID_IN_NEWS_BYTES * processes, "B", f"{ID_IN_NEWS_BYTES} bytes an id, to every process")
    tell("its time", 1e6 * largest["seconds"] / largest["revocations"], "s", "as fast as it was measured here")

    # Disk
    kept = live + new * DAY * assumed.sign_in_keep_days
    tell("sign-ins: rows", kept, "", "the live ones, and those of SIGN_IN_KEEP_DAYS")
    tell("sign-ins: bytes", kept * weight["sign-ins"], "B", f"{weight['sign-ins']:.0f} a row")
    tell("users: bytes", assumed.users * weight["users"], "B", f"{weight['users']:.0f} a row")
    sessions = live * (1 - assumed.token_share)
    tell("sessions: bytes", sessions * weight["sessions"], "B", f"{weight['sessions']:.0f} a row")
    events = new * DAY * assumed.events_per_sign_in
    tell("events: rows", events * assumed.event_keep_days, "", "those of EVENT_KEEP_DAYS")
    weight_of_event = weight["security events"]
    tell("events: bytes", events * assumed.event_keep_days * weight_of_event, "B", f"{weight_of_event:.0f} a row")
    entries = new * DAY * assumed.ended_share * assumed.token_share
    tell("blocklist: bytes", entries * weight["blocklist entries"], "B", "kept for a day")

    # Work of prune in a day
    pruned = new * DAY + events + entries
    busy = next(each for each in pruning if "deleted" in each)
    tell("rows past keeping", pruned, "a day", "as many as are added, but for users")
    seconds = pruned * busy["seconds"] / busy["deleted"]
    tell(
        "`prune`", seconds / 60, "min a day", f"{busy['deleted'] / busy['seconds']:,.0f} rows a second, beside traffic"
    )
    tell(
        "dead rows by refreshes and notes", (updates - sign_ins) * DAY / assumed.peak, "a day", "for autovacuum, or HOT"
    )
    return lines


# A message: `*3 $7 message $10 wp:blocked $49 [["…"], …]`, and its share in one of a thousand ids.
NEWS_BYTES = 100
ID_IN_NEWS_BYTES = 36
_BY_TOKEN, _BY_SESSION = limits.BY_TOKEN, limits.BY_SESSION
_per_row = sizes.per_row


def _short(value: float, unit: str) -> str:
    """Rounds to two significant figures, the precision of the estimate."""
    for size, prefix in (
        ((1e12, "T"), (1e9, "G"), (1e6, "M")) if "B" in unit else ((1e9, " billion"), (1e6, " million"))
    ):
        if value >= size:
            text = f"{_round(value / size)}"
            return f"{text} {prefix}{unit}" if "B" in unit else f"{text}{prefix} {unit}".strip()
    return f"{_round(value)} {unit}".strip()


def _round(value: float) -> str:
    return re.sub(r"\.0$", "", f"{float(f'{value:.2g}'):,}")
