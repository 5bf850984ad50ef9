"""A TCP proxy between a node and a store, which can slow down, drop data, or reset connections."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK = 64 * 1024


class Proxy:
    """Relays a port of loopback to another, or to a Unix socket. Faults affect open and new connections."""

    def __init__(self, port: int, target: int | str, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        # It terminates TLS.
        self._tls = tls
        self._target = target
        self._delay = 0.0
        self._is_silent = False
        self._open: set[asyncio.StreamWriter] = set()

    def slow_down(self, seconds: float) -> None:
        """Delays all data in each direction."""
        self._delay = seconds

    def fall_silent(self) -> None:
        """Half-open: connections stay, and data is lost, as when packets are dropped."""
        self._is_silent = True

    def cut(self) -> None:
        """Resets every connection."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result()

    def heal(self) -> None:
        """Ends the fault. Connections that lost data are reset, like the far end would do."""
        if self._is_silent:
            self.cut()
        self._delay, self._is_silent = 0.0, False

    async def _cut(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    @contextmanager
    def running(self) -> Iterator["Proxy"]:
        ready = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        thread.start()
        ready.wait()
        yield self
        self._loop.call_soon_threadsafe(self._stopped.set)
        thread.join()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(self._relay, "127.0.0.1", self.port, ssl=self._tls):
            ready.set()
            await self._stopped.wait()
            await self._cut()

    async def _relay(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        try:
            far_reader, far = await self._reach()
        except OSError:
            near.transport.abort()
            return
        self._open |= {near, far}
        await asyncio.gather(self._pump(near_reader, far), self._pump(far_reader, near))
        self._open -= {near, far}

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, str):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection("127.0.0.1", self._target)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                await asyncio.sleep(self._delay)
                if not self._is_silent:
                    writer.write(data)
                    await writer.drain()
        writer.close()
