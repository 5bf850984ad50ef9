"""A million revocations in a thousand processes: whether each next check refuses them, and the cost."""

from argparse import ArgumentParser, Namespace
from collections.abc import Collection

import psutil

from tests.benchmarks import machine
from tests.benchmarks.output import say, table
from tests.benchmarks.stand import stand

# Upper bounds of the memory of a process with its PostgreSQL process, and of a blocked id.
PROCESS_BYTES = 18_000_000
ID_BYTES = 170
# The share of the free memory.
SHARE = 0.9


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--processes", type=int, default=1000, help="fewer where the memory does not suffice")
    parser.add_argument("--revocations", type=int, default=1_000_000)
    parser.add_argument("--slow", type=int, help="stopped in mid-air until the storm is over; unset: one in 50")
    parser.add_argument("--buffer", type=int, help="bytes that may wait for a process; unset: as Valkey likes")
    parser.add_argument("--checks", type=float, default=2, help="a second of each process")


def run(options: Namespace) -> list[dict[str, object]]:
    processes = min(options.processes, room(options.revocations))
    slow = max(1, processes // 50) if options.slow is None else options.slow
    if processes < options.processes:
        say(f"{processes} processes: the memory does not hold {options.processes:,} such mirrors.\n")
    with stand(max_connections=processes + 50) as here, machine.pinned(set(machine.CORES)):
        result = here.call(
            "storm.blow",
            processes=processes,
            revocations=options.revocations,
            slow=slow,
            checks_per_second=options.checks,
            buffer=options.buffer,
        )
    result["asked_for_processes"] = options.processes
    show([result])
    return [result]


def room(revocations: int) -> int:
    """Returns the number of processes that fit into memory."""
    return int(SHARE * psutil.virtual_memory().available / (PROCESS_BYTES + ID_BYTES * revocations))


def show(results: list[dict], only: Collection[str] = ()) -> None:
    table(
        ["", *(f"{each['processes']:,} processes, {each['revocations']:,} ended" for each in results)],
        [[what, *(figure(each) for each in results)] for what, figure in ROWS.items() if not only or what in only],
    )


ROWS = {
    "ended per second": lambda r: f"{r['revocations'] / r['seconds']:,.0f}",
    "first checks of an ended id after its end was acknowledged": lambda r: f"{r['checks']:,}",
    "accepted, of these and of all later checks": lambda r: f"{r['let_in']:,}",
    "answered 503": lambda r: f"{r['unanswered']:,}",
    "others' ids refused": lambda r: f"{r['refused_others']:,}",
    "checks that asked the database": lambda r: f"{r['asked_database']:,.0f}",
    "slowest check, s": lambda r: f"{r['slowest_check_seconds']:.2f}",
    "s from the last end until every process has all ids": lambda r: f"{r['seconds_until_all_know']:.1f}",
    "bytes per id in a mirror": lambda r: f"{r['mirror_bytes'] / r['revocations']:.0f}",
    "MB of a process before; with PostgreSQL's beside it": (
        lambda r: f"{r['process_bytes'] / 1e6:.1f} / {r['machine_bytes'] / 1e6:.1f}"
    ),
    "news, messages a second": lambda r: f"{r['messages_per_second']:.1f}",
    "news, MB that Valkey sent": lambda r: f"{r['valkey_bytes_out'] / 1e6:,.0f}",
    "Valkey, share of a core, in quiet and in the storm": (
        lambda r: f"{r['quiet_valkey_cpu_share']:.2f} / {r['valkey_cpu_share']:.2f}"
    ),
    "PostgreSQL, the same": lambda r: f"{r['quiet_postgres_cpu_share']:.2f} / {r['postgres_cpu_share']:.2f}",
    "PostgreSQL, connections": lambda r: f"{r['most']['connections']:,.0f}",
    "waiting in Valkey for one process, MB at most": lambda r: f"{r['most']['waiting_of_one'] / 1e6:.1f}",
    "processes stopped until the storm was over": lambda r: f"{r['stopped_processes']:,}",
    "of these disconnected, since too many messages waited": lambda r: f"{r['overflows']:,.0f}",
    "s from their resumption until they have all ids": lambda r: f"{r['seconds_until_stopped_know']:.1f}",
}
# The lines in README.md.
SHORT = (
    "ended per second",
    "first checks of an ended id after its end was acknowledged",
    "accepted, of these and of all later checks",
    "s from the last end until every process has all ids",
    "bytes per id in a mirror",
    "processes stopped until the storm was over",
    "of these disconnected, since too many messages waited",
    "s from their resumption until they have all ids",
)
