"""Many processes, each with a mirror, during many revocations."""

import ctypes
import gc
import logging
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import psutil
from django.conf import settings
from django.db import DatabaseError, connection, connections
from prometheus_client import REGISTRY
from redis import Redis

from accounts import sids
from accounts.models import SignIn
from api.blocklist.mirror import mirror
from api.blocklist.pubsub import MAX_IDS_PER_MESSAGE
from tests.benchmarks import wire
from tests.benchmarks.output import Progress
from tests.benchmarks.site import rows

BATCH = MAX_IDS_PER_MESSAGE
GIVE_UP_SECONDS = 1200
QUIET_SECONDS = 10
# Processes whose memory is measured.
WEIGHED = 8
context = multiprocessing.get_context("fork")


class Seen(ctypes.Structure):
    """The counts of one process so far."""

    _fields_ = (
        ("is_ready", ctypes.c_bool),
        # First checks of ids with an acknowledged end; of these: accepted, or unanswered.
        ("checked", ctypes.c_long),
        ("let_in", ctypes.c_long),
        ("unanswered", ctypes.c_long),
        # Repeated checks of ended ids, and checks of ids that were never ended.
        ("let_in_later", ctypes.c_long),
        ("refused_others", ctypes.c_long),
        ("turns", ctypes.c_long),
        ("asked_database", ctypes.c_double),
        ("slowest", ctypes.c_double),
        # On the monotonic clock, which is common to all processes.
        ("knows_all_at", ctypes.c_double),
    )


class Board(ctypes.Structure):
    """Shared memory that one process writes and all others read."""

    _fields_ = (
        ("acknowledged", ctypes.c_long),
        ("ended", ctypes.c_long),
        ("may_begin", ctypes.c_bool),
        ("is_over", ctypes.c_bool),
        ("began_at", ctypes.c_double),
        ("ended_at", ctypes.c_double),
    )


class Watch:
    """The resources that the servers use, and the peaks of varying ones."""

    def __init__(self) -> None:
        self.redis = Redis.from_url(settings.REDIS_URL)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            self.postgres = psutil.Process(cursor.fetchone()[0]).parent()
        self.most: dict[str, float] = {"connections": 0, "subscribers": 0, "waiting": 0, "waiting_of_one": 0}

    def look(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
            connections = cursor.fetchone()[0]
        waiting = [int(each["omem"]) for each in self.redis.client_list(_type="pubsub")]
        now = {"connections": connections, "subscribers": len(waiting)}
        now |= {"waiting": sum(waiting), "waiting_of_one": max(waiting, default=0)}
        self.most = {name: max(value, now[name]) for name, value in self.most.items()}

    def spent(self) -> dict[str, float]:
        """Returns the totals so far; CPU in seconds."""
        info: dict[str, Any] = self.redis.info("all")  # type: ignore[assignment]
        return {
            "at": time.monotonic(),
            "valkey_cpu": info["used_cpu_user"] + info["used_cpu_sys"],
            "postgres_cpu": _cpu(self.postgres),
            "messages": info.get("cmdstat_publish", {}).get("calls", 0),
            "bytes_out": info["total_net_output_bytes"],
            "overflows": info["client_output_buffer_limit_disconnections"],
        }


def _cpu(parent: psutil.Process) -> float:
    seconds = 0.0
    for process in (parent, *parent.children(recursive=True)):
        # In nanoseconds; psutil has hundredths of a second, more than an idle process uses.
        with suppress(OSError):
            seconds += int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9
    return seconds


def blow(processes: int, revocations: int, slow: int, checks_per_second: float, buffer: int | None) -> dict[str, Any]:
    """
    The last `slow` processes are stopped (SIGSTOP) until the storm is over. `buffer`: the bytes of output after which
    Valkey disconnects a process; None: Valkey's default.
    """
    if buffer is not None:
        Redis.from_url(settings.REDIS_URL).config_set("client-output-buffer-limit", f"pubsub {buffer} 0 0")
    rows.clients(revocations)
    # All processes check the last id of each batch.
    ids = list(SignIn.objects.order_by("-pk").values_list("pk", flat=True))
    batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
    samples = [batch[-1] for batch in batches]
    connections.close_all()
    seen, (board,) = RawArray(Seen, processes), RawArray(Board, 1)
    gc.collect()
    # Objects that the garbage collector ignores stay in shared memory.
    gc.freeze()
    free = psutil.virtual_memory().available
    with Progress(processes + len(batches) + processes + len(samples)) as progress:
        checks = [(_check, (each, board, samples, checks_per_second)) for each in seen]
        with _forked([*checks, (_revoke, (board, batches))]) as (*children, revoker):
            _wait(lambda: sum(each.is_ready for each in seen), processes, progress, "processes subscribe")
            watch, weighed = Watch(), [psutil.Process(each.pid) for each in children[:WEIGHED]]
            light = [each.memory_full_info().uss for each in weighed]
            taken = (free - psutil.virtual_memory().available) / processes
            quiet = _spent_in(watch, QUIET_SECONDS)
            stopped = [each.pid for each in children[processes - slow :] if each.pid]
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            before = watch.spent()
            board.may_begin = True
            _wait(lambda: board.acknowledged, len(batches), progress, "ending sign-ins", watch, revoker)
            after = watch.spent()
            resumed_at = time.monotonic()
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
            _wait(lambda: sum(each.knows_all_at > 0 for each in seen), processes, progress, "all know all", watch)
            overflows = watch.spent()["overflows"]
            heavy = [each.memory_full_info().uss for each in weighed]
            _wait(lambda: min(each.checked for each in seen), len(samples), progress, "the last checks", watch)
            board.is_over = True
    awake = seen[: processes - slow]
    storm = {name: after[name] - before[name] for name in before}
    return {
        "processes": processes,
        "stopped_processes": slow,
        "revocations": len(ids),
        "seconds": board.ended_at - board.began_at,
        "checks": sum(each.checked for each in seen),
        "let_in": sum(each.let_in + each.let_in_later for each in seen),
        "unanswered": sum(each.unanswered for each in seen),
        "refused_others": sum(each.refused_others for each in seen),
        "turns": sum(each.turns for each in seen),
        "asked_database": sum(each.asked_database for each in seen),
        "slowest_check_seconds": max(each.slowest for each in awake),
        "seconds_until_all_know": max(each.knows_all_at for each in awake) - board.ended_at,
        "seconds_until_stopped_know": max((each.knows_all_at for each in seen[processes - slow :]), default=resumed_at)
        - resumed_at,
        "process_bytes": median(light),
        # With its connections and PostgreSQL's process; accurate only on an idle machine.
        "machine_bytes": taken,
        "mirror_bytes": median(after - before for before, after in zip(light, heavy, strict=True)),
        "overflows": overflows,
        "messages_per_second": storm["messages"] / (board.ended_at - board.began_at),
        "valkey_cpu_share": storm["valkey_cpu"] / storm["at"],
        "valkey_bytes_out": storm["bytes_out"],
        "postgres_cpu_share": storm["postgres_cpu"] / storm["at"],
        "quiet_valkey_cpu_share": quiet["valkey_cpu"] / quiet["at"],
        "quiet_postgres_cpu_share": quiet["postgres_cpu"] / quiet["at"],
        "most": watch.most,
    }


@contextmanager
def _forked(calls: Sequence[tuple[Any, tuple[Any, ...]]]) -> Iterator[list[BaseProcess]]:
    children = []
    try:
        for call, arguments in calls:
            child = context.Process(target=_alone, args=(call, *arguments), daemon=True)
            child.start()
            children.append(child)
        yield children
        for child in children:
            child.join(60)
    finally:
        for child in children:
            child.kill()


def _alone(call: Any, *arguments: Any) -> None:
    """Runs in a forked process, with nothing of the parent but its memory."""
    connections.close_all()
    logging.disable(logging.CRITICAL)
    random.seed(os.getpid())
    call(*arguments)


def _wait(number: Any, total: int, progress: Progress, what: str, watch: Watch | None = None, by: Any = None) -> None:
    """Raises Failed after a timeout, or if the process has failed."""
    deadline, noted = time.monotonic() + GIVE_UP_SECONDS, 0
    while (reached := number()) < total:
        progress.at(f"{what}: {reached:,} of {total:,}")
        progress.step(reached - noted)
        noted = reached
        if time.monotonic() > deadline or (by and by.exitcode):
            raise wire.Failed(f"{what}: {reached:,} of {total:,} after all")
        if watch:
            watch.look()
        time.sleep(0.5)
    progress.step(total - noted)


def _spent_in(watch: Watch, seconds: float) -> dict[str, float]:
    before = watch.spent()
    time.sleep(seconds)
    after = watch.spent()
    return {name: after[name] - before[name] for name in before}


def _revoke(board: Board, batches: Sequence[Sequence[UUID]]) -> None:
    """Revokes like end_in_batches(), with its log."""
    logging.disable(logging.NOTSET)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    while not board.may_begin:
        time.sleep(0.05)
    board.began_at = time.monotonic()
    for batch in batches:
        ended = SignIn.objects.filter(pk__in=batch).end(SignIn.Reason.ENDED_BY_STAFF)
        board.ended += ended
        board.ended_at = time.monotonic()
        board.acknowledged += 1


def _check(seen: Seen, board: Board, samples: Sequence[UUID], per_second: float) -> None:
    """Checks periodically. The next check must refuse an id whose end was acknowledged."""
    due = time.monotonic() + random.random() / per_second
    while not board.is_over and os.getppid() != 1:
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due + 1 / per_second, time.monotonic())
        while seen.checked < (acknowledged := board.acknowledged):
            # Several at once, if it was stopped or is late.
            for sample in samples[seen.checked : acknowledged]:
                answer = _blocks(sample, seen)
                seen.let_in += answer is False
                seen.unanswered += answer is None
                seen.checked += 1
        if seen.checked:
            seen.let_in_later += _blocks(random.choice(samples[: seen.checked]), seen) is False
        seen.refused_others += _blocks(sids.new(), seen) is True
        seen.turns += 1
        seen.asked_database = REGISTRY.get_sample_value("wristband_checks_by_database_total") or 0.0
        if mirror.is_current():
            seen.is_ready = True
            if acknowledged == len(samples) and not seen.knows_all_at and len(mirror) >= board.ended:
                seen.knows_all_at = time.monotonic()


def _blocks(sid: UUID, seen: Seen) -> bool | None:
    """Returns None if the response would be a 503."""
    started = time.monotonic()
    try:
        return mirror.blocks(sid, uuid4(), 1)
    except DatabaseError:
        connection.close()
        return None
    finally:
        seen.slowest = max(seen.slowest, time.monotonic() - started)
