"""Measures the cost of a request for /compare/, and returns it in the header Server-Timing."""

import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse
from redis.connection import ConnectionPool
from redis.sentinel import SentinelConnectionPool

from accounts import hashing

# Only paths whose response already shows the outcome: elsewhere the counts would show whether an account exists.
MEASURED_PATHS = frozenset(
    {
        "/api/me/",
        "/api/password/change/",
        "/api/token/blacklist/",
        "/api/token/refresh/",
        "/compare/client/",
        "/compare/who/",
    }
)
# A POST to the first one is a sign-in.
MEASURED_CALLS = frozenset({("GET", "/api/session/"), ("POST", "/api/session/token/")})


class Costs:
    """The counts of one request."""

    def __init__(self) -> None:
        self.statements = 0
        self.statement_seconds = 0.0
        self.round_trips = 0

    def execute(self, execute: Callable[..., Any], *args: Any) -> Any:
        """Counts and times an SQL statement; for connection.execute_wrapper()."""
        self.statements += 1
        started = time.perf_counter()
        try:
            return execute(*args)
        finally:
            self.statement_seconds += time.perf_counter() - started


_costs: ContextVar[Costs | None] = ContextVar("costs", default=None)


class CountedPool(ConnectionPool):
    """Counts round trips: each command or pipeline takes one connection from the pool."""

    def get_connection(self, *args: Any, **kwargs: Any) -> Any:
        if costs := _costs.get():
            costs.round_trips += 1
        return super().get_connection(*args, **kwargs)


class CountedSentinelPool(CountedPool, SentinelConnectionPool):
    """The same for connections through Sentinel."""


class CostMiddleware:
    """The outermost middleware, so that it measures all others."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Other requests cost one look-up in a dict.
        if "HTTP_X_COMPARE" not in request.META or not _is_measured(request):
            return self.get_response(request)
        costs = Costs()
        reset_to = _costs.set(costs)
        started = time.perf_counter()
        try:
            with connection.execute_wrapper(costs.execute), hashing.stopwatch() as hashes:
                response = self.get_response(request)
        finally:
            _costs.reset(reset_to)
        # Without password hashes, which cost the same in both modes and more than everything else.
        seconds = time.perf_counter() - started - hashes.seconds
        sent, received = _bytes_sent(request), _bytes_received(response)
        response["Server-Timing"] = (
            f"app;dur={seconds * 1000:.2f}, "
            f"hash;dur={hashes.seconds * 1000:.2f}, "
            f'sql;dur={costs.statement_seconds * 1000:.2f};desc="{costs.statements}", '
            f'redis;desc="{costs.round_trips}", '
            f'sent;desc="{sent}", answered;desc="{received}", credential;desc="{_bytes_of_credential(request)}"'
        )
        return response


def _is_measured(request: HttpRequest) -> bool:
    is_listed = request.path in MEASURED_PATHS or (request.method, request.path) in MEASURED_CALLS
    return is_listed and request.headers.get("Sec-Fetch-Site") == "same-origin"


def _bytes_sent(request: HttpRequest) -> int:
    """The size of the request in HTTP/1.1."""
    line = f"{request.method} {request.get_full_path()} HTTP/1.1\r\n"
    return len(line) + _bytes_of_headers(request.headers.items()) + int(request.headers.get("Content-Length") or 0)


def _bytes_received(response: HttpResponse) -> int:
    line = f"HTTP/1.1 {response.status_code} {response.reason_phrase}\r\n"
    cookies = [("Set-Cookie", cookie.OutputString()) for cookie in response.cookies.values()]
    return len(line) + _bytes_of_headers([*response.items(), *cookies]) + len(response.content)


def _bytes_of_headers(headers: Iterable[tuple[str, str]]) -> int:
    return sum(len(f"{name}: {value}\r\n") for name, value in headers) + len("\r\n")


def _bytes_of_credential(request: HttpRequest) -> int:
    name = "Authorization" if "Authorization" in request.headers else "Cookie"
    return len(f"{name}: {request.headers[name]}\r\n") if name in request.headers else 0
