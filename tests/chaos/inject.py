"""Faults of a fleet. Each is real, lasts some seconds or minutes, and is undone."""

import random
import time
from contextlib import nullcontext

from tests.chaos import mail_faults, node_faults, postgres_faults, valkey_faults, worker_faults
from tests.chaos.fleet import Fleet
from tests.chaos.recorder import Fault, History
from tests.chaos.staging import Staged, rest

# Faults of different parts overlap.
PARTS = ("valkey", "postgres", "node", "mail server", "mail worker")
# These have no faults at the end of a run, so that its mails are sent: for a share of the run, at most so many seconds.
CALM_PARTS, CALM_SHARE, MAX_CALM = ("mail server", "mail worker"), 0.2, 60.0


def kinds(fleet: Fleet) -> dict[str, dict[str, Staged]]:
    """Returns the faults of each part, by their names, as far as this machine allows them."""
    return {
        "valkey": valkey_faults.KINDS | (valkey_faults.ON_A_SMALL_DISK if fleet.disk_of_valkey else {}),
        "postgres": postgres_faults.KINDS | (postgres_faults.ON_A_SMALL_DISK if fleet.disk_of_postgres else {}),
        "node": node_faults.KINDS,
        "mail server": mail_faults.KINDS,
        "mail worker": worker_faults.KINDS,
    }


def inject(fleet: Fleet, part: str, until: float, history: History, seed: int) -> None:
    """Stages one fault after the other, every kind once before any is repeated; the seed decides all but the timing."""
    rng = random.Random(f"{seed}/{part}")
    mine = sorted(kinds(fleet)[part].items())
    if part in CALM_PARTS:
        until -= min(MAX_CALM, CALM_SHARE * (until - time.monotonic()))
    bag: list[tuple[str, Staged]] = []
    while time.monotonic() < until:
        if not bag:
            bag = rng.sample(mine, len(mine))
        kind, stage = bag.pop()
        # A restore has the database for itself.
        with fleet.database_turn if part == "postgres" else nullcontext():
            began = time.monotonic()
            stage(fleet, rng)
            history.faults.append(Fault(kind, began, time.monotonic(), part))
        if part == "mail server":
            # Time in which a part of the waiting mails is sent.
            rest(rng, fleet.longest_outage / 4, fleet.longest_outage / 2)
        else:
            rest(rng, 0.3, 1.2)
