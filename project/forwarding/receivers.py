"""The receivers of events: syslog over TCP or TLS, a file, and an OTLP collector."""

import base64
import errno
import fcntl
import logging
import os
import socket
import ssl
import struct
import termios
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Protocol
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from accounts.models import SecurityEvent
from api import strict_json
from project.forwarding import formats

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 3.0
# Of the whole send(), during which a transaction is idle: .env.example suggests a limit of 5 s for PgBouncer.
SEND_SECONDS = 3.0
PORTS = {"syslog+tcp": 601, "syslog+tls": 6514, "otlp+http": 4318, "otlp+https": 4318}
OTLP_PATH = "/v1/logs"
MAX_ANSWER_BYTES = 100_000
# Syslog has no acknowledgement: after a lost connection, what was sent in this time is sent again.
RESEND_SECONDS = 10.0
MAX_RESENT_FRAMES = 10_000
FILE_MODE = 0o640
ERRORS = (OSError, HTTPException)


class Rejected(OSError):
    """The receiver answered with an error."""


class RefusedForGood(Rejected):
    """The receiver refuses the events themselves: to send the same request again is useless (OTLP: 400, 413)."""


class Receiver(Protocol):
    def open(self) -> None:
        """Connects if there is no connection. Call it before send(). Raises one of ERRORS."""

    def send(self, events: list[SecurityEvent]) -> None:
        """
        Returns when the receiver has the events, after SEND_SECONDS at most. Raises one of ERRORS; the events must then
        be sent again.
        """

    def close(self) -> None: ...


def receiver_of(url: str) -> Receiver:
    """Returns the receiver of a valid EVENTS_URL. It is not connected yet."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return File(unquote(parts.path))
    return Otlp(parts) if parts.scheme.startswith("otlp") else Syslog(parts)


class Syslog:
    """
    RFC 5424 by TCP (RFC 6587) or TLS (RFC 5425). The events are sent once the host of the receiver has acknowledged all
    bytes, and the connection is still open.
    """

    def __init__(self, url: SplitResult) -> None:
        self._address = (url.hostname or "", url.port or PORTS[url.scheme])
        self._tls = _tls_context(url) if url.scheme == "syslog+tls" else None
        self._socket: socket.socket | None = None
        # On the monotonic clock: when the connection was seen open last; when frames were sent, and the frames.
        self._open_at = 0.0
        self._recent: deque[tuple[float, bytes]] = deque(maxlen=MAX_RESENT_FRAMES)

    def open(self) -> None:
        if self._socket and self._is_still_open():
            return
        connected = socket.create_connection(self._address, CONNECT_SECONDS)
        try:
            if self._tls:
                connected = self._tls.wrap_socket(connected, server_hostname=self._address[0])
        except OSError:
            connected.close()
            raise
        self._socket = connected
        if self._recent:
            frames = [frame for _sent_at, frame in self._recent]
            self._deliver(b"".join(frames))
            # This connection may lose them, too.
            self._recent.clear()
            self._note(frames)

    def send(self, events: list[SecurityEvent]) -> None:
        frames = [formats.syslog_frame(event) for event in events]
        self._deliver(b"".join(frames))
        self._note(frames)

    def close(self) -> None:
        if self._socket:
            with suppress(OSError):
                self._socket.close()
        self._socket = None

    def _deliver(self, frames: bytes) -> None:
        deadline = time.monotonic() + SEND_SECONDS
        try:
            self._check_open()
            self._send_all(frames, deadline)
            self._wait_for_acknowledgement(deadline)
            self._check_open()
        except OSError:
            self.close()
            raise

    def _is_still_open(self) -> bool:
        """Closes the connection if not. What was sent shortly before is then sent again."""
        try:
            self._check_open()
        except OSError:
            self.close()
            return False
        self._forget_old()
        return True

    def _check_open(self) -> None:
        """Raises OSError if the receiver has closed the connection. It sends nothing otherwise."""
        _check_open(self._socket)  # type: ignore[arg-type]
        self._open_at = time.monotonic()

    def _send_all(self, frames: bytes, deadline: float) -> None:
        """Not sendall(), which with TLS has a time limit for each part. Raises TimeoutError."""
        left = memoryview(frames)
        while left:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))  # type: ignore[union-attr]
            left = left[self._socket.send(left) :]  # type: ignore[union-attr]

    def _wait_for_acknowledgement(self, deadline: float) -> None:
        """Waits until no byte is unacknowledged (Linux, tcp(7): SIOCOUTQ). Raises TimeoutError."""
        while _unacknowledged_bytes(self._socket):  # type: ignore[arg-type]
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "The receiver does not acknowledge what was sent")
            time.sleep(0.002)

    def _note(self, frames: list[bytes]) -> None:
        now = time.monotonic()
        self._recent.extend((now, frame) for frame in frames)

    def _forget_old(self) -> None:
        """Not by the time of now: a connection that was lost since then may have lost these frames too."""
        while self._recent and self._recent[0][0] < self._open_at - RESEND_SECONDS:
            self._recent.popleft()


class File:
    """
    A file of JSON lines, for an agent that reads it. It may be renamed at any time (logrotate): the next event creates
    a new one. The events are on the disk when send() returns.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def open(self) -> None: ...

    def send(self, events: list[SecurityEvent]) -> None:
        lines = b"".join(formats.json_line(event) for event in events)
        file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            self._append(file, lines)
        finally:
            os.close(file)

    def close(self) -> None: ...

    def _append(self, file: int, lines: bytes) -> None:
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            # The previous process was killed while it wrote.
            lines = b"\n" + lines
        try:
            written = os.write(file, lines)
            if written < len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file)
        except OSError:
            # No part of a line is left behind if the disk is full.
            with suppress(OSError):
                os.ftruncate(file, size)
            raise


class Otlp:
    """
    OTLP over HTTP in JSON. A user name and password of the URL are sent by Basic authentication. Each request has a
    connection of its own, which open() makes before the transaction.
    """

    def __init__(self, url: SplitResult) -> None:
        host, port = url.hostname or "", url.port or PORTS[url.scheme]
        self._connection = (
            HTTPSConnection(host, port, timeout=CONNECT_SECONDS, context=_tls_context(url))
            if url.scheme == "otlp+https"
            else HTTPConnection(host, port, timeout=CONNECT_SECONDS)
        )
        # Since the start.
        self._rejected = 0
        self._path = url.path.rstrip("/") or OTLP_PATH
        self._headers = {"Content-Type": "application/json"}
        if url.username:
            credentials = f"{unquote(url.username)}:{unquote(url.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(credentials).decode()}"

    def open(self) -> None:
        if self._connection.sock:
            try:
                _check_open(self._connection.sock)
                return
            except OSError:
                self.close()
        self._connection.connect()

    def send(self, events: list[SecurityEvent]) -> None:
        try:
            with _time_limit(self._connection.sock):
                self._connection.request("POST", self._path, formats.otlp_request(events), self._headers)
                response = self._connection.getresponse()
                body = response.read(MAX_ANSWER_BYTES)
        finally:
            self.close()
        if response.status in (400, 413):
            raise RefusedForGood(errno.EPROTO, f"The receiver answered {response.status}")
        if not 200 <= response.status < 300:
            raise Rejected(errno.EPROTO, f"The receiver answered {response.status}")
        self._note_rejected(events, body)

    def close(self) -> None:
        self._connection.close()

    def _note_rejected(self, events: list[SecurityEvent], answer: bytes) -> None:
        """A partial success (OTLP 1.x): such a request must not be sent again, and has no ids of what was rejected."""
        try:
            partial = strict_json.loads(answer)["partialSuccess"]
            # In JSON, Protobuf writes an int64 as a text.
            count, why = int(partial["rejectedLogRecords"]), str(partial.get("errorMessage", ""))
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError):
            return
        if count <= 0:
            return
        self._rejected += count
        logger.error(
            "The receiver rejected %d of the security events %d to %d, %d since the start: %.200s",
            *(count, events[0].pk, events[-1].pk, self._rejected, why),
        )


@contextmanager
def _time_limit(sock: socket.socket) -> Iterator[None]:
    """Shuts the connection down after SEND_SECONDS: a time limit of the socket is one for each part of an answer."""
    sock.settimeout(SEND_SECONDS)
    # Not SSLSocket.shutdown(), which removes the state of TLS while another thread uses it.
    timer = threading.Timer(SEND_SECONDS, _shut_down, [sock])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _shut_down(sock: socket.socket) -> None:
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _check_open(sock: socket.socket) -> None:
    """Raises OSError if the receiver has closed the connection. It sends nothing while it waits."""
    sock.setblocking(False)
    try:
        if not sock.recv(1024):
            raise ConnectionResetError(errno.ECONNRESET, "The receiver has closed the connection")
    except (BlockingIOError, ssl.SSLWantReadError):
        pass


def _tls_context(url: SplitResult) -> ssl.SSLContext:
    """The receiver must have a certificate for its name, of the system's authorities or of `?ssl_ca_certs=`."""
    [authorities] = parse_qs(url.query).get("ssl_ca_certs", [""])
    return ssl.create_default_context(cafile=authorities or None)


def _unacknowledged_bytes(sock: socket.socket) -> int:
    # SIOCOUTQ has the number of TIOCOUTQ.
    answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    return int(struct.unpack("i", answer)[0])
