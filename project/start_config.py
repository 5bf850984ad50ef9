"""The configuration of gunicorn for `manage.py start`: that of a deployment, and a worker that sends the mails."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from project import gunicorn_config
from project.gunicorn_config import preload_app as preload_app

POLL_SECONDS = 0.5
# From one start of the worker to the next: doubled up to the longest, until a worker has run for long.
LONGEST_PAUSE_SECONDS, LONG_SECONDS = 30.0, 60.0
# The worker ends after the mail that it sends; a second signal returns that mail to the queue.
STOP_SECONDS = 2

# gunicorn forks its workers in the main thread. One that is forked while Popen() runs would hold the pipe whose end
# Popen() waits for: then Popen() never returns.
no_fork = threading.Lock()
os.register_at_fork(before=no_fork.acquire, after_in_parent=no_fork.release, after_in_child=no_fork.release)


def next_pause(pause: float, since_start: float) -> float:
    """Returns the seconds from this start of the worker to the next one; `since_start` is from the last one to this."""
    return POLL_SECONDS if since_start >= LONG_SECONDS else min(2 * pause, LONGEST_PAUSE_SECONDS)


class MailWorker:
    """
    A `manage.py db_worker` beside the server, started again if it ends. It ends with this process, also if this process
    is killed: it compares its parent.
    """

    def __init__(self) -> None:
        self._is_wanted = True
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep_running, name="mail-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_wanted = False
        self._thread.join()
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self._process is None or self._process.poll() is not None:
                return
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)

    def _keep_running(self) -> None:
        # On the monotonic clock, in seconds.
        started_at, pause = -math.inf, POLL_SECONDS
        while self._is_wanted:
            since_start = time.monotonic() - started_at
            # gunicorn may have reaped it: then poll() returns 0.
            has_ended = self._process is None or self._process.poll() is not None
            if has_ended and since_start >= pause:
                started_at, pause = time.monotonic(), next_pause(pause, since_start)
                command = [sys.executable, "manage.py", "db_worker", "--parent", str(os.getpid())]
                # Ctrl-C reaches this process only, which then stops the worker.
                with no_fork:
                    self._process = subprocess.Popen(command, start_new_session=True)  # noqa: S603
            time.sleep(POLL_SECONDS)


mail_worker = MailWorker()


def when_ready(server: Any) -> None:
    gunicorn_config.when_ready(server)
    mail_worker.start()


def on_exit(server: Any) -> None:
    mail_worker.stop()
