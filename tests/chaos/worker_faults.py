"""Faults of the mail worker. Each ends with a running worker, as a service manager would start it again."""

import random

from tests.chaos.fleet import Fleet
from tests.chaos.staging import Staged, dies, rest


def killed(fleet: Fleet, rng: random.Random) -> None:
    fleet.worker.kill()
    rest(rng, 0, 20)
    fleet.worker.start()


def ended(fleet: Fleet, rng: random.Random) -> None:
    fleet.worker.stop_gracefully()
    fleet.worker.start()


def paused(fleet: Fleet, rng: random.Random) -> None:
    fleet.worker.pause()
    rest(rng, 2, 20)
    fleet.worker.resume()
    revive(fleet)


def revive(fleet: Fleet) -> None:
    if not fleet.worker.answers():
        # Removes what is left of it.
        fleet.worker.kill()
        fleet.worker.start()


def dies_and_starts(failpoint: str) -> Staged:
    def stage(fleet: Fleet, rng: random.Random) -> None:
        dies(failpoint)(fleet, rng)
        revive(fleet)

    return stage


KINDS: dict[str, Staged] = {
    "mail worker killed -9, up to 20 s": killed,
    "mail worker ended by SIGTERM": ended,
    "mail worker paused up to 20 s": paused,
    "mail worker killed -9 before it sends a mail": dies_and_starts("before a mail is sent"),
    "mail worker killed -9 after it has sent a mail": dies_and_starts("after a mail was sent"),
}
