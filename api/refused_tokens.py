"""How many tokens were refused, hour by hour: for staff to see that something is going on, not for the record."""

import threading
import time

from django.core.cache import cache

HOUR_SECONDS = 3600
KEPT_HOURS = 72
# More than any fleet answers: what another wrote there is no count.
MAX_PER_HOUR = 10**12
# Between two tellings, in seconds: a flood of bad tokens costs each process one pair of calls in that time.
FLUSH_SECONDS = 1.0


class RefusedTokens:
    """Counted in the process and told to the cache now and then; what the cache loses is lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending = 0
        self._next_flush = 0.0

    def count(self) -> None:
        with self._lock:
            self._pending += 1
            if time.monotonic() < self._next_flush:
                return
            self._next_flush = time.monotonic() + FLUSH_SECONDS
            pending, self._pending = self._pending, 0
        if not _flush(pending):
            with self._lock:
                self._pending += pending

    def in_last_hours(self, hours: int) -> int | None:
        """Of the last so many hours; None while the cache is away, or holds what is not of our writing."""
        now = int(time.time() // HOUR_SECONDS)
        try:
            counts = cache.get_many([hour_key(hour) for hour in range(now - hours + 1, now + 1)])
        except Exception:
            return None
        if not all(type(count) is int and 0 <= count < MAX_PER_HOUR for count in counts.values()):
            return None
        return sum(counts.values()) + self._pending


def _flush(count: int) -> bool:
    key = hour_key(int(time.time() // HOUR_SECONDS))
    try:
        cache.add(key, 0, timeout=KEPT_HOURS * HOUR_SECONDS)
        cache.incr(key, count)
    except Exception:
        # Whatever the matter with Redis is: a refusal is answered as ever.
        return False
    return True


def hour_key(hour: int) -> str:
    # With a hash tag: of a cluster, only keys of one place are had in one go.
    return f"{{refused}}:{hour}"


refused_tokens = RefusedTokens()
