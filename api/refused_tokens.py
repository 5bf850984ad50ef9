"""How many tokens were refused, hour by hour: for staff to see that something is going on, not for the record."""

import threading
import time

from django.core.cache import cache

HOUR = 3600
KEPT_HOURS = 72
# More than any fleet answers: what another wrote there is no count.
MOST_IN_AN_HOUR = 10**12
# Between two tellings, in seconds: a flood of bad tokens costs each process one pair of calls in that time.
TOLD_EVERY = 1.0


class Refusals:
    """Counted in the process and told to the cache now and then; what the cache loses is lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._untold = 0
        self._next_telling = 0.0

    def note(self) -> None:
        with self._lock:
            self._untold += 1
            if time.monotonic() < self._next_telling:
                return
            self._next_telling = time.monotonic() + TOLD_EVERY
            untold, self._untold = self._untold, 0
        if not _tell(untold):
            with self._lock:
                self._untold += untold

    def count(self, hours: int) -> int | None:
        """Of the last so many hours; None while the cache is away, or holds what is not of our writing."""
        now = int(time.time() // HOUR)
        try:
            told = cache.get_many([key_of_hour(hour) for hour in range(now - hours + 1, now + 1)])
        except Exception:
            return None
        if not all(type(count) is int and 0 <= count < MOST_IN_AN_HOUR for count in told.values()):
            return None
        return sum(told.values()) + self._untold


def _tell(count: int) -> bool:
    key = key_of_hour(int(time.time() // HOUR))
    try:
        cache.add(key, 0, timeout=KEPT_HOURS * HOUR)
        cache.incr(key, count)
    except Exception:
        # Whatever the matter with Redis is: a refusal is answered as ever.
        return False
    return True


def key_of_hour(hour: int) -> str:
    # With a hash tag: of a cluster, only keys of one place are had in one go.
    return f"{{refused}}:{hour}"


refusals = Refusals()
