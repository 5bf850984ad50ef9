"""
Closing connections without waiting for the client. gunicorn (26 and later) waits up to two seconds for a client that
does not close its side, in the thread that serves requests: eight such clients stop two workers for eight seconds.
"""

import asyncio
import os
import socket
import sys
import threading
from contextlib import suppress

# In a worker, at the same time; beyond that, connections are closed at once. A process may have 1,024 open files.
MAX_WAITING = 200


class Closer:
    """Does the same wait as gunicorn.util.close_graceful (RFC 9112, section 9.6) for all connections in one thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[socket.socket] = set()
        # The loop itself keeps no reference to a task.
        self._tasks: set[asyncio.Task[None]] = set()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        """Starts its thread with the first connection: not before the server forks its workers."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="closer", daemon=True).start()
            return self._loop

    def close(self, sock: socket.socket, timeout: float = 2.0, max_drain: int = 65536) -> None:
        """Returns at once. The client gets the answer whole, also if it has not sent its request whole."""
        try:
            sock.shutdown(socket.SHUT_WR)
            # asyncio takes no TLS socket, and there is no TLS any more on this one.
            plain = socket.socket(fileno=sock.detach())
        except OSError:
            with suppress(OSError):
                sock.close()
            return
        if len(self._waiting) >= MAX_WAITING:
            plain.close()
            return
        plain.setblocking(False)
        self._waiting.add(plain)
        # Not run_coroutine_threadsafe(), which warns of a coroutine that a process that ends did not begin.
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
            # The time is over, or the connection is reset.
            pass
        finally:
            self._waiting.discard(sock)
            sock.close()


closer = Closer()
# A parent process and its children share neither the thread nor the lock.
os.register_at_fork(after_in_child=closer.__init__)  # type: ignore[misc]


def install() -> None:
    """gunicorn has no setting for it. Where another server runs the project, nothing is installed."""
    if "gunicorn" not in sys.modules:
        return
    from gunicorn import util

    util.close_graceful = closer.close
