"""
A stopwatch for code that waits. It subtracts the time in which a busy machine did not schedule this process. Code that
computes is measured with time.process_time() instead.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

TICK_SECONDS = 0.005


class Stopwatch:
    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._late = 0.0
        self._is_over = threading.Event()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started - self._late

    def _measure_lateness(self) -> None:
        """Sleeps, and adds the delay of each wake-up: 0.1 milliseconds on an idle machine."""
        before = time.perf_counter()
        while not self._is_over.is_set():
            time.sleep(TICK_SECONDS)
            now = time.perf_counter()
            self._late += max(0.0, now - before - 2 * TICK_SECONDS)
            before = now

    @contextmanager
    def running(self) -> Iterator["Stopwatch"]:
        watcher = threading.Thread(target=self._measure_lateness, daemon=True)
        watcher.start()
        try:
            yield self
        finally:
            self._is_over.set()
            watcher.join()


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    with Stopwatch().running() as watch:
        yield watch
