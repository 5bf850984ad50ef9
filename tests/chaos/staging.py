"""What the faults of all parts share."""

import random
import time
from collections.abc import Callable
from operator import attrgetter

from tests.chaos.fleet import Fleet

Staged = Callable[[Fleet, random.Random], None]


def rest(rng: random.Random, low: float = 0.5, high: float = 2.5) -> None:
    time.sleep(rng.uniform(low, high))


def way_to(proxies: str, trouble: Callable[..., None], *arguments: float) -> Staged:
    """A fault of one node's way to a store. `proxies` is the attribute of the fleet with the ways of all nodes."""

    def stage(fleet: Fleet, rng: random.Random) -> None:
        proxy = rng.choice(attrgetter(proxies)(fleet))
        trouble(proxy, *arguments)
        rest(rng, 1, 4)
        proxy.heal()

    return stage


def dies(failpoint: str) -> Staged:
    def stage(fleet: Fleet, rng: random.Random) -> None:
        armed = fleet.failpoints / failpoint
        armed.touch()
        deadline = time.monotonic() + 8
        while armed.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        armed.unlink(missing_ok=True)

    return stage
