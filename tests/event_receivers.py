"""Receivers of events for tests: a syslog server over TCP or TLS, and an OTLP collector."""

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# RFC 5424, section 6: header, structured data, message.
MESSAGE = re.compile(
    r"<(?P<pri>\d{1,3})>1 (?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) (?P<host>[!-~]{1,255})"
    r" (?P<app>[!-~]{1,48}) (?P<process>[!-~]{1,128}) (?P<id>[!-~]{1,32})"
    r" (?P<data>(?:\[(?:[^\]\\\"]|\"(?:[^\"\\\]]|\\.)*\")*\])+) (?P<text>.*)"
)
ELEMENT = re.compile(r'\[([!#-<>-\\^-~]{1,32})((?: [!#-<>-\\^-~]{1,32}="(?:[^"\\\]]|\\.)*")*)\]')
PARAMETER = re.compile(r' ([^ =]+)="((?:[^"\\\]]|\\.)*)"')


def parse(message: str) -> dict[str, Any]:
    """Returns the parts of a message; `event` and `details` are the parameters of these elements, without escapes."""
    match = MESSAGE.fullmatch(message)
    assert match, message
    elements = {
        name.partition("@")[0]: {key: re.sub(r"\\(.)", r"\1", value) for key, value in PARAMETER.findall(parameters)}
        for name, parameters in ELEMENT.findall(match["data"])
    }
    return match.groupdict() | elements


class SyslogServer:
    """Accepts connections while it is up. Stays at its port."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.context = context
        self.messages: list[dict[str, Any]] = []
        self.port = 0
        self._open: list[socket.socket] = []
        self.start()

    @property
    def ids(self) -> list[int]:
        return [int(message["event"]["id"]) for message in list(self.messages)]

    @property
    def has_connections(self) -> bool:
        return bool(self._open)

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        """Closes the port and all connections, as a process that is killed."""
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _address = listener.accept()
                self._open.append(connection)
                threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError):
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            with connection.makefile("rb") as stream:
                while True:
                    length = b"".join(iter(lambda: stream.read(1).replace(b" ", b""), b""))
                    self.messages.append(parse(stream.read(int(length)).decode()))


class Collector:
    """An OTLP collector over HTTP. It answers `status`; `seconds_per_byte` makes the answer slow."""

    def __init__(self) -> None:
        self.status = 200
        self.seconds_per_byte = 0.0
        self.answer = b""
        # 400 for a request with one of these ids.
        self.refused_ids: set[int] = set()
        self._open: list[socket.socket] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def setup(self) -> None:
                super().setup()
                collector._open.append(self.connection)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = 400 if collector.refuses(body) else collector.status
                if status < 300:
                    collector.headers.append({**self.headers, "path": self.path})
                    collector.bodies.append(body)
                if collector.seconds_per_byte:
                    self.answer_slowly()
                    return
                self.send_response(status)
                self.end_headers()
                self.wfile.write(collector.answer)

            def answer_slowly(self) -> None:
                with suppress(OSError):
                    for byte in b"HTTP/1.0 200 OK\r\n\r\n":
                        self.wfile.write(bytes([byte]))
                        time.sleep(collector.seconds_per_byte)

            def log_message(self, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def records(self) -> list[dict[str, Any]]:
        """The log records, with their attributes as a dictionary."""
        return [record for body in list(self.bodies) for record in self._records_of(body)]

    @property
    def ids(self) -> list[int]:
        return [int(record["attributes"]["event.id"]) for record in self.records]

    def refuses(self, body: bytes) -> bool:
        return any(int(record["attributes"]["event.id"]) in self.refused_ids for record in self._records_of(body))

    def _records_of(self, body: bytes) -> list[dict[str, Any]]:
        return [
            record | {"attributes": {each["key"]: next(iter(each["value"].values())) for each in record["attributes"]}}
            for logs in json.loads(body)["resourceLogs"]
            for scope in logs["scopeLogs"]
            for record in scope["logRecords"]
        ]

    def close_connections(self) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def stopped(server: Any) -> Iterator[Any]:
    try:
        yield server
    finally:
        server.stop()
