"""What the faults of all parts share."""

import random
import time
from collections.abc import Callable

from tests.chaos.fleet import Fleet

Staged = Callable[[Fleet, random.Random], None]


def rest(rng: random.Random, low: float = 0.5, high: float = 2.5) -> None:
    time.sleep(rng.uniform(low, high))


def dies(failpoint: str) -> Staged:
    def stage(fleet: Fleet, rng: random.Random) -> None:
        armed = fleet.failpoints / failpoint
        armed.touch()
        deadline = time.monotonic() + 8
        while armed.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        armed.unlink(missing_ok=True)

    return stage
