"""python -m tests.chaos --minutes 5 --seed 1: runs a load and faults on a fleet, and prints the checker's report."""

import asyncio
import os
import pickle
import random
import sys
import time
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx

from tests.chaos import clients, database, load, mail_rules, raw_sql, restores
from tests.chaos.checker import Violation, check
from tests.chaos.fleet import Fleet, fleet
from tests.chaos.inject import PARTS, inject
from tests.chaos.mailbox import Mailbox
from tests.chaos.recorder import Alarm, History, Letter
from tests.chaos.report import report

# For each minute of the run, the mail server may be away for so many seconds, and for at most MAX_OUTAGE.
OUTAGE_PER_MINUTE, MAX_OUTAGE = 10.0, 240.0


def run(minutes: float, seed: int) -> tuple[History, list[Violation]]:
    history = History()
    with (
        Mailbox().running() as mailbox,
        fleet(mailbox=mailbox) as stand,
    ):
        stand.longest_outage = min(MAX_OUTAGE, OUTAGE_PER_MINUTE * minutes)
        if not (stand.disk_of_postgres and stand.disk_of_valkey):
            history.left_out.append("full disks of PostgreSQL and Valkey, since this machine allows no mount")
        people = database.make_people(stand.env)
        history.two_factor = frozenset(person.name for person in people if person.second_factors)
        everyone = clients.make_clients(people, history, seed)
        ends = time.monotonic() + 60 * minutes
        others = [
            raw_sql.RawSQL(stand.env["DATABASE_URL"], everyone, history, random.Random(f"{seed}/raw SQL")).run(ends),
            restores.Restores(stand, people, everyone, history, random.Random(f"{seed}/restores")).run(ends),
        ]
        with ThreadPoolExecutor(len(PARTS)) as pool:
            injected = [pool.submit(inject, stand, part, ends, history, seed) for part in PARTS]
            asyncio.run(load.run(stand.balancer.url, everyone, ends, *others))
            for each in injected:
                each.result()
        healed = time.monotonic()
        wait_until_ready(stand)
        sys.stderr.write(f"ready {time.monotonic() - healed:.1f} s after the last fault" + "\n")
        # Without faults every remaining credential must be accepted or refused as usual.
        asyncio.run(load.run(stand.balancer.url, everyone, time.monotonic() + 5))
        history.letters = mailbox.letters
        history.record = database.read_record(stand.env)
        wait_for_mails(history)
        sys.stderr.write(f"mails awaited until {time.monotonic() - healed:.1f} s after the last fault" + "\n")
        if folder := os.environ.get("FAULTS_LOGS"):
            store(Path(folder), stand, history)
    return history, check(history)


def store(folder: Path, stand: Fleet, history: History) -> None:
    """Stores the logs, and the history for pickle.load()."""
    for number, node in enumerate(stand.nodes):
        (folder / f"node{number}.log").write_text(node.log)
    if stand.worker:
        (folder / "worker.log").write_text(stand.worker.log)
    (folder / "history.pickle").write_bytes(pickle.dumps(history))


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


def wait_for_mails(history: History) -> None:
    """Returns when each alarm was mailed, or is late."""

    def is_awaited(alarm: Alarm, letter: Letter | None) -> bool:
        return letter is None and not mail_rules.is_late(history.faults, alarm, time.monotonic())

    while any(is_awaited(alarm, letter) for alarm, letter in mail_rules.mails_of_alarms(history)):
        time.sleep(0.5)


def main() -> None:
    parser = ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--write", type=Path, help="also write the report to this file")
    options = parser.parse_args()
    sys.stderr.write(f"seed {options.seed}" + "\n")
    history, violations = run(options.minutes, options.seed)
    made = report(history, violations)
    sys.stdout.write(f"{made}\n")
    if options.write:
        command = f"`python -m tests.chaos --minutes {options.minutes:g} --seed {options.seed}`"
        options.write.write_text(f"{command}, {datetime.now(UTC):%-d %B %Y}, {os.cpu_count()} processors\n\n{made}\n")
    sys.exit(bool(violations))


if __name__ == "__main__":
    main()
