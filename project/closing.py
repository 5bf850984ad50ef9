"""
Closes connections without waiting for the client. gunicorn (26 and later) waits up to two seconds for a client that
does not close its side, in the thread that serves requests: eight such clients block two workers for eight seconds.
"""

import asyncio
import os
import socket
import sys
import threading
from contextlib import suppress

# For each worker; further connections are closed at once. A process may have 1,024 open files.
MAX_WAITING_CONNECTIONS = 200


class Closer:
    """Waits like gunicorn.util.close_graceful (RFC 9112, section 9.6), for all connections in one thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[socket.socket] = set()
        # The loop itself keeps no reference to a task.
        self._tasks: set[asyncio.Task[None]] = set()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        """Starts the thread at the first connection, which is after the server has forked its workers."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="closer", daemon=True).start()
            return self._loop

    def close(self, sock: socket.socket, timeout: float = 2.0, max_drain: int = 65536) -> None:
        """Returns at once. The client receives the whole response, even if it has not sent its whole request."""
        try:
            sock.shutdown(socket.SHUT_WR)
            # asyncio accepts no TLS socket; after the shutdown this one needs no TLS.
            plain = socket.socket(fileno=sock.detach())
        except OSError:
            with suppress(OSError):
                sock.close()
            return
        if len(self._waiting) >= MAX_WAITING_CONNECTIONS:
            plain.close()
            return
        plain.setblocking(False)
        self._waiting.add(plain)
        # Not run_coroutine_threadsafe(): it warns if the process ends before the coroutine has started.
        self._running_loop().call_soon_threadsafe(self._begin, plain, timeout, max_drain)

    def _begin(self, sock: socket.socket, timeout: float, max_drain: int) -> None:
        task = asyncio.get_running_loop().create_task(self._wait(sock, timeout, max_drain))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wait(self, sock: socket.socket, timeout: float, max_drain: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                while max_drain > 0 and (data := await loop.sock_recv(sock, 4096)):
                    max_drain -= len(data)
        except OSError:
            # The timeout has passed, or the client has reset the connection.
            pass
        finally:
            self._waiting.discard(sock)
            sock.close()


closer = Closer()
# A forked process inherits neither the thread nor the state of the lock.
os.register_at_fork(after_in_child=closer.__init__)  # type: ignore[misc]


def install() -> None:
    """Replaces the function of gunicorn, which has no setting for it. Does nothing under another server."""
    if "gunicorn" not in sys.modules:
        return
    from gunicorn import util

    util.close_graceful = closer.close
