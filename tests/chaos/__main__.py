"""python -m tests.chaos --minutes 5 --seed 1: runs a load and faults on a fleet, and prints the checker's report."""

import asyncio
import json
import os
import random
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests import servers
from tests.chaos import load, raw_sql
from tests.chaos.checker import Violation, check
from tests.chaos.fleet import Fleet, fleet
from tests.chaos.inject import inject
from tests.chaos.recorder import Call, History, Record

PEOPLE = 8
# Faults of different parts overlap.
INJECTORS = ({"valkey"}, {"postgres"}, {"node"})

MAKE_PEOPLE = f"""
from accounts.models import User
for number in range({PEOPLE}):
    User.objects.create_user(f"person{{number}}", f"person{{number}}@example.org", {load.PASSWORD!r})
"""
READ_RECORD = """
import json
from collections import Counter
from accounts.models import SecurityEvent, Session, SignIn
from api.blocklist.models import Entry
events = Counter()
for type, sid, name in SecurityEvent.objects.values_list("type", "sid", "user__username"):
    events[f"{type} {sid or name}"] += 1
    if type == "password_changed":
        events[f"{type} {name}"] += 1 if sid else 0
print(json.dumps({
    "reasons": {
        str(pk): f"{reason} at {at:%X}"
        for pk, reason, at in SignIn.objects.exclude(ended_at=None).values_list("pk", "end_reason", "ended_at")
    },
    "blocked": [each.hex for each in Entry.objects.values_list("token_id", flat=True)],
    "events": events,
    "unended": [str(pk) for pk in SignIn.objects.filter(ended_at=None).values_list("pk", flat=True)],
    "keys": [key[:32] for key in Session.objects.values_list("pk", flat=True)],
}))
"""


def run(minutes: float, seed: int) -> tuple[History, list[Violation]]:
    history = History()
    with fleet() as stand:
        servers.manage(stand.env, "shell", "--verbosity=0", "--command", MAKE_PEOPLE)
        names = [f"person{number}" for number in range(PEOPLE)]
        clients = load.make_clients(names, history, seed)
        raw = raw_sql.RawSQL(stand.env["DATABASE_URL"], clients, history, random.Random(f"{seed}/raw SQL"))
        ends = time.monotonic() + 60 * minutes
        with ThreadPoolExecutor(len(INJECTORS)) as pool:
            injected = [pool.submit(inject, stand, parts, ends, history, seed) for parts in INJECTORS]
            asyncio.run(load.run(stand.balancer.url, clients, ends, raw.run(ends)))
            for each in injected:
                each.result()
        healed = time.monotonic()
        wait_until_ready(stand)
        sys.stderr.write(f"ready {time.monotonic() - healed:.1f} s after the last fault" + "\n")
        # Without faults every remaining credential must be accepted or refused as usual.
        asyncio.run(load.run(stand.balancer.url, clients, time.monotonic() + 5))
        history.record = read_record(stand)
        if folder := os.environ.get("FAULTS_LOGS"):
            for number, node in enumerate(stand.nodes):
                Path(folder, f"node{number}.log").write_text(node.log)
    return history, check(history)


def wait_until_ready(stand: Fleet) -> None:
    """Waits until the fleet is ready without a restart. Raises TimeoutError."""
    deadline = time.monotonic() + 30
    for node in stand.nodes:
        while True:
            try:
                if httpx.get(f"{node.url}/health/ready", timeout=10, trust_env=False).json()["redis"] == "up":
                    break
            except (httpx.TransportError, ValueError, KeyError):
                pass
            if time.monotonic() > deadline:
                raise TimeoutError(f"{node.url} did not recover")
            time.sleep(0.2)


def read_record(stand: Fleet) -> Record:
    stored = json.loads(servers.manage(stand.env, "shell", "--verbosity=0", "--command", READ_RECORD))
    events = {(kind, about): times for key, times in stored["events"].items() for kind, about in [key.split(" ", 1)]}
    sets = {name: frozenset(stored[name]) for name in ("blocked", "unended", "keys")}
    return Record(frozenset(stored["reasons"]), events=events, reasons=stored["reasons"], **sets)


ANSWERS = ("granted", "503", "refused", "cut off", "client left")


def _answer(call: Call) -> str:
    if call.left:
        return "client left"
    if call.cut_off:
        return "cut off"
    if call.status == 503:
        return "503"
    return "granted" if 200 <= call.status < 400 else "refused"


def report(history: History, violations: list[Violation]) -> str:
    counts = Counter(fault.kind for fault in history.faults)
    slowest = max((call.answered_at - call.sent_at for call in history.calls), default=0.0)
    actions = sorted({call.action for call in history.calls})
    ended = Counter((end.action, end.acknowledged) for end in history.ends)
    answers = Counter((call.action, _answer(call)) for call in history.calls)
    lines = [
        f"{len(history.calls)} requests, {len(history.ends)} ends of which "
        f"{sum(end.acknowledged for end in history.ends)} were acknowledged, {len(history.faults)} faults; "
        f"{sum(call.status == 503 for call in history.calls)} answers were 503, the slowest took {slowest:.1f} s",
        "",
        f"| request | {' | '.join(ANSWERS)} |",
        f"|---|{'---:|' * len(ANSWERS)}",
        *(f"| {each} | {' | '.join(str(answers[each, answer]) for answer in ANSWERS)} |" for each in actions),
        "",
        "| end | acknowledged | not acknowledged |",
        "|---|---:|---:|",
        *(f"| {each} | {ended[each, True]} | {ended[each, False]} |" for each in sorted({each for each, _ in ended})),
        "",
        "| fault | times |",
        "|---|---:|",
        *(f"| {kind} | {times} |" for kind, times in sorted(counts.items())),
        "",
        f"Violations: {len(violations)}",
        *(f"- {each.rule}: {each.what}" for each in violations[:40]),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    sys.stderr.write(f"seed {options.seed}" + "\n")
    history, violations = run(options.minutes, options.seed)
    sys.stdout.write(f"{report(history, violations)}\n")
    sys.exit(bool(violations))


if __name__ == "__main__":
    main()
