"""Stacks of middleware, timed inside one process."""

import io
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

STOCK = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
BEHIND_PROXY = {
    "REQUEST_METHOD": "GET",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "8000",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1",
    "wsgi.url_scheme": "http",
    "HTTP_HOST": "www.example.org",
    "HTTP_X_FORWARDED_FOR": "203.0.113.9",
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_ACCEPT": "*/*",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
}
REQUESTS = {
    "API": {"PATH_INFO": "/api/trivial/"},
    "page": {
        "PATH_INFO": "/trivial/",
        "HTTP_ACCEPT_LANGUAGE": "de-AT,de;q=0.8,en;q=0.5",
        "HTTP_COOKIE": "__Host-csrftoken=abcdefghijklmnopqrstuvwxyzABCDEF",
        "HTTP_SEC_FETCH_SITE": "none",
    },
}


def trivial(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"{}", content_type="application/json")


urlpatterns = [path("api/trivial/", csrf_exempt(trivial)), path("trivial/", trivial)]


def stacks(rounds: int, requests: int) -> dict[str, dict[str, list[float]]]:
    """CPU microseconds of one request, in each round, with the outermost none, one, two ... of ours; with Django's."""
    ours = list(settings.MIDDLEWARE)
    lists = {name.rpartition(".")[2]: ours[: number + 1] for number, name in enumerate(ours)}
    with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["www.example.org"]):
        handlers = {name: _handler(names) for name, names in ({"none": []} | lists | {"stock": STOCK}).items()}
        return {kind: _turns(handlers, BEHIND_PROXY | request, rounds, requests) for kind, request in REQUESTS.items()}


def _handler(names: list[str]) -> WSGIHandler:
    with override_settings(MIDDLEWARE=names):
        return WSGIHandler()


def _turns(
    handlers: dict[str, WSGIHandler], environ: dict[str, Any], rounds: int, requests: int
) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in handlers}
    # The first round sets things up.
    for _ in range(rounds + 1):
        for name, handler in handlers.items():
            took[name].append(_microseconds(handler, environ, requests))
    return {name: each[1:] for name, each in took.items()}


def _microseconds(handler: Callable[..., Any], environ: dict[str, Any], requests: int) -> float:
    # CPU time: on a busy machine the clock would count the turns of other processes.
    started = time.process_time()
    for _ in range(requests):
        response = handler(environ | {"wsgi.input": io.BytesIO()}, lambda status, headers: None)
        assert response.status_code == 200, response.content
        response.close()
    return 1e6 * (time.process_time() - started) / requests
