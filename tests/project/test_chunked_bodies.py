"""Chunked request bodies, as Cloudflare and .NET send them: accepted up to the same limits as others."""

import json
import logging
import re
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from typing import Any
from urllib.parse import quote_plus, urlsplit
from uuid import uuid4

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.test import RequestFactory, override_settings

from project.chunked_bodies import ChunkedBodyMiddleware
from tests import servers
from tests.conftest import Browser

PASSWORD = "violet anchor hums at dawn"
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
KILOBYTE = b"x" * 1024


def in_chunks(body: bytes, size: int = 7) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


class Answer:
    def __init__(self, raw: bytes) -> None:
        head, _separator, self.body = raw.partition(b"\r\n\r\n")
        self.head = head.decode("latin-1")
        self.status = int(self.head.split(" ", 2)[1]) if self.head else 0
        # The ASGI worker answers in chunks.
        self.text = self.body.decode(errors="replace")

    def cookie(self, name: str) -> str:
        found = re.search(rf"(?im)^set-cookie: ({name}[^=]*=[^;]+)", self.head)
        assert found, self.head
        return found[1]


class RawClient:
    def __init__(self, url: str) -> None:
        self.address = (urlsplit(url).hostname, urlsplit(url).port)

    def send(self, head: str, parts: Iterable[bytes], pause: float = 0, ends: bool = False) -> Answer:
        with socket.create_connection(self.address, timeout=30) as connection:
            try:
                connection.sendall(head.encode())
                for part in parts:
                    connection.sendall(part)
                    time.sleep(pause)
                if ends:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                # The server refused before the whole body was sent.
                pass
            return Answer(connection.makefile("rb").read())

    def post(
        self, path: str, parts: Sequence[bytes] | bytes, content_type: str = JSON, more: str = "", **how: Any
    ) -> Answer:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nConnection: close\r\n"
        head += f"Transfer-Encoding: chunked\r\n{more}\r\n"
        return self.send(head, [parts] if isinstance(parts, bytes) else parts, **how)

    def get(self, path: str) -> Answer:
        return self.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", [])


@pytest.fixture(scope="module", params=["sync", "gthread", "asgi"])
def http(request: pytest.FixtureRequest, fleet: Any) -> Iterator[RawClient]:
    if request.param == "sync":
        yield RawClient(fleet.url)
        return
    application = "project.asgi" if request.param == "asgi" else "project.wsgi"
    args = [f"--worker-class={request.param}", "--threads=2"]
    with servers.node(fleet.env, workers=1, args=args, application=application) as node:
        yield RawClient(node.url)


@pytest.fixture(scope="module")
def someone(http: RawClient) -> str:
    name = f"u{uuid4().hex[:12]}"
    body = json.dumps({"username": name, "email": f"{name}@example.org", "password": PASSWORD}).encode()
    answer = http.post("/api/register/", in_chunks(body))
    assert answer.status == 201, answer.text
    return name


def credentials(name: str) -> bytes:
    return json.dumps({"username": name, "password": PASSWORD}).encode()


@pytest.mark.once
@pytest.mark.long
def test_json_in_chunks_is_accepted(http: RawClient, someone: str) -> None:
    answer = http.post("/api/token/", in_chunks(credentials(someone), 1))
    assert answer.status == 200, answer.text
    assert '"access"' in answer.text


@pytest.mark.once
@pytest.mark.long
@pytest.mark.parametrize("spelled", ["Chunked", "CHUNKED ", "chunked"])
def test_the_transfer_coding_is_case_insensitive(http: RawClient, someone: str, spelled: str) -> None:
    head = f"POST /api/token/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: {JSON}\r\nConnection: close\r\n"
    answer = http.send(f"{head}Transfer-Encoding: {spelled}\r\n\r\n", [in_chunks(credentials(someone))])
    assert answer.status == 200, answer.text


@pytest.mark.once
@pytest.mark.long
def test_slow_chunks_with_extensions_and_trailers_are_accepted(http: RawClient, someone: str) -> None:
    body = credentials(someone)
    parts = [b"%x;name=value\r\n" % len(body[:9]), body[:9], b"\r\n%X\r\n" % len(body[9:]), body[9:], b"\r\n0\r\n"]
    # A trailer is not a header: it does not change the address of the client.
    trailers = b"X-Forwarded-For: 6.6.6.6\r\nContent-Encoding: gzip\r\n\r\n"
    answer = http.post("/api/token/", [*parts, trailers], pause=0.2)
    assert answer.status == 200, answer.text


@pytest.mark.once
@pytest.mark.long
def test_a_form_in_chunks_signs_in(http: RawClient, someone: str) -> None:
    page = http.get("/accounts/login/")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert token
    fields = {"csrfmiddlewaretoken": token[1], "username": someone, "password": PASSWORD}
    body = "&".join(f"{name}={quote_plus(value)}" for name, value in fields.items()).encode()
    cookie = f"Cookie: {page.cookie('csrftoken')}\r\n"
    answer = http.post("/accounts/login/", in_chunks(body), FORM, cookie)
    assert answer.status == 302, answer.text
    assert answer.cookie("sessionid")
    # The CSRF token in a chunked body is accepted.
    forged = body.replace(token[1].encode(), b"x" * len(token[1]))
    assert http.post("/accounts/login/", in_chunks(forged), FORM, cookie).status == 403


@pytest.mark.once
@pytest.mark.long
def test_an_empty_body_has_missing_fields(http: RawClient) -> None:
    answer = http.post("/api/token/", b"0\r\n\r\n")
    assert (answer.status, "This field is required" in answer.text) == (400, True)


@pytest.mark.once
@pytest.mark.long
@pytest.mark.parametrize(
    ("path", "kilobytes", "content_type"),
    [("/api/token/", 1466, JSON), ("/api/token/revoke/", 63, FORM), ("/accounts/login/", 257, FORM)],
)
def test_a_body_over_the_limit_is_refused(http: RawClient, path: str, kilobytes: int, content_type: str) -> None:
    chunk = b"400\r\n" + KILOBYTE + b"\r\n"
    answer = http.post(path, [*[chunk] * kilobytes, b"0\r\n\r\n"], content_type)
    assert answer.status == 413, answer.text
    assert "too large" in answer.text


@pytest.mark.once
@pytest.mark.long
def test_a_body_just_under_the_limit_is_accepted(http: RawClient, someone: str) -> None:
    body = credentials(someone)[:-1] + b" " * (1_500_000 - len(credentials(someone))) + b"}"
    answer = http.post("/api/token/", in_chunks(body, 100_000))
    assert answer.status == 200, answer.text


LIES = {
    "more than it says": b"5\r\n{}\r\n0\r\n\r\n",
    "less than it says": b"1\r\n{}\r\n0\r\n\r\n",
    "no number": b"zz\r\n{}\r\n0\r\n\r\n",
    "a negative number": b"-2\r\n{}\r\n0\r\n\r\n",
    "a huge number": b"ffffffffffffffffff\r\n{}",
    "it breaks off": b"2\r\n{}",
    "nothing comes": b"",
}


@pytest.mark.once
@pytest.mark.long
@pytest.mark.parametrize("path", ["/api/token/", "/accounts/login/"])
@pytest.mark.parametrize("body", LIES.values(), ids=LIES)
def test_invalid_chunks_are_a_bad_request(http: RawClient, path: str, body: bytes) -> None:
    answer = http.post(path, body, JSON if path.startswith("/api/") else FORM, ends=True)
    # An ASGI server does not report an incomplete body to the application.
    assert answer.status in (400, 413, 0), answer.text
    assert http.get("/health/live").status == 200


AMBIGUOUS = {
    "with a length": "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
    "packed": "Transfer-Encoding: gzip, chunked\r\n",
    "twice": "Transfer-Encoding: chunked, chunked\r\n",
}


@pytest.mark.once
@pytest.mark.long
@pytest.mark.parametrize("framing", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_body_with_an_ambiguous_end_or_coding_is_refused(http: RawClient, framing: str) -> None:
    head = f"POST /api/token/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: {JSON}\r\nConnection: close\r\n{framing}\r\n"
    assert http.send(head, [in_chunks(b"{}")]).status in (400, 501)


@pytest.mark.once
@pytest.mark.long
def test_the_next_request_begins_after_the_last_chunk(http: RawClient) -> None:
    post = f"POST /api/token/verify/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: {JSON}\r\n"
    following = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = http.send(f"{post}Transfer-Encoding: chunked\r\n\r\n", [in_chunks(b'{"token": "x"}') + following])
    assert answer.status == 401
    # Sync workers close each connection after one answer.
    assert re.findall(r"HTTP/1\.1 (\d+)", answer.text) in ([], ["200"])


# Bodies over the limit


@pytest.mark.django_db
def test_a_form_over_the_limit_gets_a_page_and_one_log_line(caplog: Any) -> None:
    answer = Browser().generic("POST", "/accounts/login/", "username=" + "x" * 300_000, FORM)
    assert answer.status_code == 413
    assert "The form is too large" in answer.content.decode()
    [line] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (line.levelno, line.exc_info) == (logging.WARNING, None)


# Servers without an end of the body


@override_settings(ALLOWED_HOSTS=["testserver"])
@pytest.mark.parametrize(("path", "kind"), [("/api/token/", JSON), ("/accounts/login/", "text/html")])
def test_a_server_without_end_of_body_requires_a_length(path: str, kind: str) -> None:
    answer = Browser().generic("POST", path, b"", headers={"transfer-encoding": "chunked"})
    assert answer.status_code == 411
    assert kind in answer["Content-Type"]


def test_a_stream_with_its_own_end_is_read_without_a_header() -> None:
    """HTTP/2 sends bodies without Content-Length and Transfer-Encoding."""
    environ = RequestFactory().post("/accounts/login/").environ
    del environ["CONTENT_LENGTH"]
    environ |= {"wsgi.input": BytesIO(b"a=1&b=2"), "wsgi.input_terminated": True, "CONTENT_TYPE": FORM}
    request = WSGIRequest(environ)
    assert ChunkedBodyMiddleware(lambda request: None).process_request(request) is None
    assert request.POST.dict() == {"a": "1", "b": "2"}
