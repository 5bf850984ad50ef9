"""A minimal HTTP client, as fast as possible in Python: one request for each connection."""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 30
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
# The header of a TLS-terminating proxy (TRUSTED_PROXIES).
HTTPS = {"X-Forwarded-Proto": "https"}
# The headers of a client and of the proxy before the server.
PROXIED = HTTPS | {
    "X-Forwarded-For": "203.0.113.9",
    "Accept": "*/*",
    "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
    "User-Agent": USER_AGENT,
}
# The password of every user.
PASSWORD = "violet anchor hums at dawn"


class Failed(Exception):
    """A response that invalidates the benchmark."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    head: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)

    def expect(self, status: int) -> "Answer":
        """Raises Failed for another status."""
        if self.status != status:
            raise Failed(f"{self.status} instead of {status}: {self.body[:500]!r}")
        return self


def get(path: str, headers: Mapping[str, str]) -> bytes:
    return request("GET", path, headers)


def post(path: str, data: object, headers: Mapping[str, str] | None = None) -> bytes:
    return request("POST", path, {**HTTPS, **(headers or {}), "Content-Type": "application/json"}, json.dumps(data))


def request(method: str, path: str, headers: Mapping[str, str], body: str = "") -> bytes:
    lines = {"Host": "127.0.0.1", **headers, "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    # In HTTP/1.0 a response is not chunked, and ends with the connection.
    return f"{method} {path} HTTP/1.0\r\n{head}\r\n{body}".encode()


def bearer(access: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {access}"}


def ask(url: str, request: bytes) -> Answer:
    with connect(url) as connection:
        connection.sendall(request)
        return read(connection)


def connect(url: str) -> socket.socket:
    connection = socket.socket()
    connection.settimeout(TIMEOUT_SECONDS)
    address = urlsplit(url)
    connection.connect((address.hostname, address.port))
    return connection


def read(connection: socket.socket) -> Answer:
    """Reads the response until the server closes the connection."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    if not head:
        raise Failed("the connection was closed without an answer")
    return Answer(int(head.split(b" ", 2)[1]), body, head)
