"""What a request costs, told to the page that compares, if it asks for it (Server-Timing), and to nobody else."""

import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse
from redis.connection import ConnectionPool
from redis.sentinel import SentinelConnectionPool

from accounts import hashing

# Only where the answer says as much already: counts elsewhere would tell whether there is such an account.
MEASURED = frozenset(
    {
        "/api/me/",
        "/api/password/change/",
        "/api/token/blacklist/",
        "/api/token/refresh/",
        "/compare/client/",
        "/compare/who/",
    }
)


class Costs:
    def __init__(self) -> None:
        self.statements = 0
        self.statement_seconds = 0.0
        self.round_trips = 0

    def execute(self, execute: Callable[..., Any], *args: Any) -> Any:
        """Around every SQL statement, as connection.execute_wrapper() calls it."""
        self.statements += 1
        started = time.perf_counter()
        try:
            return execute(*args)
        finally:
            self.statement_seconds += time.perf_counter() - started


_costs: ContextVar[Costs | None] = ContextVar("costs", default=None)


class CountedPool(ConnectionPool):
    """Redis is asked by taking a connection, once for each command or pipeline."""

    def get_connection(self, *args: Any, **kwargs: Any) -> Any:
        if costs := _costs.get():
            costs.round_trips += 1
        return super().get_connection(*args, **kwargs)


class CountedSentinelPool(CountedPool, SentinelConnectionPool):
    pass


class CostMiddleware:
    """The outermost, so that it sees all that others do."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # The usual case costs one look into a dict.
        if "HTTP_X_COMPARE" not in request.META or not _may_ask(request):
            return self.get_response(request)
        costs = Costs()
        reset_to = _costs.set(costs)
        started = time.perf_counter()
        try:
            with connection.execute_wrapper(costs.execute), hashing.stopwatch() as hashes:
                response = self.get_response(request)
        finally:
            _costs.reset(reset_to)
        # Hashes of passwords cost the same in both modes, and more than all the rest.
        seconds = time.perf_counter() - started - hashes.seconds
        sent, answered = _bytes_sent(request), _bytes_answered(response)
        response["Server-Timing"] = (
            f"app;dur={seconds * 1000:.2f}, "
            f"hash;dur={hashes.seconds * 1000:.2f}, "
            f'sql;dur={costs.statement_seconds * 1000:.2f};desc="{costs.statements}", '
            f'redis;desc="{costs.round_trips}", '
            f'sent;desc="{sent}", answered;desc="{answered}", credential;desc="{_bytes_of_credential(request)}"'
        )
        return response


def _may_ask(request: HttpRequest) -> bool:
    return request.path in MEASURED and request.headers.get("Sec-Fetch-Site") == "same-origin"


def _bytes_sent(request: HttpRequest) -> int:
    """As HTTP/1.1 writes it."""
    line = f"{request.method} {request.get_full_path()} HTTP/1.1\r\n"
    return len(line) + _bytes_of_headers(request.headers.items()) + int(request.headers.get("Content-Length") or 0)


def _bytes_answered(response: HttpResponse) -> int:
    line = f"HTTP/1.1 {response.status_code} {response.reason_phrase}\r\n"
    cookies = [("Set-Cookie", cookie.OutputString()) for cookie in response.cookies.values()]
    return len(line) + _bytes_of_headers([*response.items(), *cookies]) + len(response.content)


def _bytes_of_headers(headers: Iterable[tuple[str, str]]) -> int:
    return sum(len(f"{name}: {value}\r\n") for name, value in headers) + len("\r\n")


def _bytes_of_credential(request: HttpRequest) -> int:
    name = "Authorization" if "Authorization" in request.headers else "Cookie"
    return len(f"{name}: {request.headers[name]}\r\n") if name in request.headers else 0
