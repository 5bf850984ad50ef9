"""
Closes connections without waiting for the client. gunicorn (26 and later) waits up to two seconds for a client that
does not close its side, in the thread that serves requests: eight such clients block two workers for eight seconds.
"""

import os
import socket
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from ssl import SSLSocket
from typing import NamedTuple

# For each worker; further connections are closed at once. A process may have 1,024 open files.
MAX_WAITING_CONNECTIONS = 200
# How often the thread looks for clients that have closed, while connections wait.
SWEEP_SECONDS = 0.1
# Waiting connections that each close() looks at: more than one, so that their number decreases.
SWEPT_PER_CLOSE = 2
CHUNK_BYTES = 65536


class Waiting(NamedTuple):
    """A connection that was closed for writing, and whose client has not closed its side."""

    sock: socket.socket
    # On the monotonic clock, in seconds.
    deadline: float
    # How much more is read and discarded before it is closed.
    max_drain: int


class Closer:
    """
    Waits like gunicorn.util.close_graceful (RFC 9112, section 9.6), for all connections together. Most clients have
    closed their side by the next close(), which then closes the connection; a thread looks for the others.
    """

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()
        self._has_waiting = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def close(self, sock: socket.socket, timeout: float = 2.0, max_drain: int = 65536) -> None:
        """Returns at once. The client receives the whole response, even if it has not sent its whole request."""
        try:
            sock.shutdown(socket.SHUT_WR)
            if isinstance(sock, SSLSocket):
                # It takes no flags in recv(). After the shutdown, this connection needs no TLS.
                sock = socket.socket(fileno=sock.detach())
        except OSError:
            with suppress(OSError):
                sock.close()
            return
        self._sweep(SWEPT_PER_CLOSE)
        if len(self._waiting) >= MAX_WAITING_CONNECTIONS:
            sock.close()
            return
        self._close_or_wait(Waiting(sock, time.monotonic() + timeout, max_drain))
        if self._waiting and not self._has_waiting.is_set():
            self._wake_thread()

    def _sweep(self, number: int) -> None:
        """Closes those of the `number` longest waiting connections that are due; the others go on waiting."""
        for _ in range(number):
            try:
                self._close_or_wait(self._waiting.popleft())
            except IndexError:
                return

    def _close_or_wait(self, waiting: Waiting) -> None:
        sock, deadline, max_drain = waiting
        try:
            while max_drain > 0 and (data := sock.recv(CHUNK_BYTES, socket.MSG_DONTWAIT)):
                max_drain -= len(data)
        except BlockingIOError:
            if time.monotonic() < deadline:
                self._waiting.append(Waiting(sock, deadline, max_drain))
                return
        except OSError:
            # The client has reset the connection.
            pass
        sock.close()

    def _wake_thread(self) -> None:
        """Starts the thread at the first connection, which is after the server has forked its workers."""
        self._has_waiting.set()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="closer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while self._has_waiting.wait():
            time.sleep(SWEEP_SECONDS)
            self._has_waiting.clear()
            self._sweep(len(self._waiting))
            if self._waiting:
                self._has_waiting.set()


closer = Closer()
# A forked process inherits neither the thread nor the state of the lock.
os.register_at_fork(after_in_child=closer.__init__)  # type: ignore[misc]


def install() -> None:
    """Replaces the function of gunicorn, which has no setting for it. Does nothing under another server."""
    if "gunicorn" not in sys.modules:
        return
    from gunicorn import util

    util.close_graceful = closer.close
