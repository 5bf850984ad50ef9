"""Measurements within one process, without a server."""

import time
from collections.abc import Callable
from timeit import Timer
from unittest.mock import patch

from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, parse_cookie
from django.test import RequestFactory
from django.utils.module_loading import import_string

from tests.benchmarks import wire
from tests.benchmarks.site.credentials import ann
from tests.benchmarks.site.views import WhoAmI

# Until the mirror has loaded, a check queries the database.
WARM_UP_SECONDS = 0.5
CALLS_PER_TURN = 100


def dispatch(credentials: str, seconds: float) -> dict[str, list[float]]:
    """
    Returns the seconds of one call of the view, from the request to the unrendered response: without and with
    authentication and its middlewares, in turns of a few milliseconds.
    """
    floor = _timer(WhoAmI.as_view(authentication_classes=()), {})
    view: Callable = WhoAmI.as_view()
    for middleware in reversed(settings.MIDDLEWARE):
        view = import_string(middleware)(view)
    ours = _timer(view, import_string(f"tests.benchmarks.site.{credentials}")())
    _turns(floor, ours, WARM_UP_SECONDS)
    return _turns(floor, ours, seconds)


def _timer(view: Callable, credentials: dict[str, str] | Callable[[], dict[str, str]]) -> Timer:
    """Returns a timer of calls with these headers, or with new ones for each, made before the timing."""
    metas: list[dict[str, str]] = []

    def prepare() -> None:
        for _ in range(CALLS_PER_TURN):
            headers = credentials() if callable(credentials) else credentials
            metas.append({f"HTTP_{name.upper()}": value for name, value in headers.items()})

    def call() -> None:
        request = HttpRequest()
        request.method, request.path = "GET", "/whoami/"
        request.META = metas.pop()
        request.COOKIES = parse_cookie(request.META.get("HTTP_COOKIE", ""))
        response = view(request)
        assert response.data == {"id": 1, "username": "ann"}, response.data

    # CPU time, since on a busy machine the clock includes other processes.
    return Timer(call, prepare, timer=time.process_time)


def _turns(floor: Timer, ours: Timer, seconds: float) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {"floor": [], "ours": []}
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        for name, timer in (("floor", floor), ("ours", ours)):
            took[name].append(timer.timeit(CALLS_PER_TURN) / CALLS_PER_TURN)
    return took


def sign_in(times: int) -> dict[str, list[float]]:
    """Returns the milliseconds of POST /api/token/ in the password hash, and in everything else."""
    user, handler, spent = ann(), WSGIHandler(), 0.0
    hashes: list[float] = []
    rest: list[float] = []
    verify = Argon2PasswordHasher.verify

    def timed_verify(self: Argon2PasswordHasher, password: str, encoded: str) -> bool:
        nonlocal spent
        started = time.perf_counter()
        verified = verify(self, password, encoded)
        spent += time.perf_counter() - started
        return verified

    data = {"username": user.username, "password": wire.PASSWORD}
    with patch.object(Argon2PasswordHasher, "verify", timed_verify):
        for _ in range(times + 1):
            request = RequestFactory().post("/api/token/", data, "application/json", secure=True)
            spent, started = 0.0, time.perf_counter()
            response = handler.get_response(request)
            took = time.perf_counter() - started
            assert response.status_code == 200, response.content
            assert spent > 0
            hashes.append(spent * 1000)
            rest.append((took - spent) * 1000)
    # The first call includes the set-up.
    return {"hash": hashes[1:], "rest": rest[1:]}
