"""
Server-sent events and websockets, which end within a second of the end of their sign-in: after raw SQL within two. They
need an ASGI server.

A process checks all its open streams every half second, in one thread: without a statement while the blocklist mirror
is current, otherwise with one for each stream. A stream holds no database connection. Its use does not extend the idle
timeout of a session, and a stream of an access token ends when the token expires, at the latest.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from importlib import import_module
from typing import Any, TypeVar
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, close_old_connections, connections
from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request
from rest_framework_simplejwt.exceptions import AuthenticationFailed, TokenError

from accounts.http import cross_site
from api.api_keys import ApiKey, ApiKeyNotAllowed
from api.tokens import AccessToken

logger = logging.getLogger(__name__)

Check = Callable[[], bool]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Coroutine[Any, Any, Any]]
Application = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]
ItemT = TypeVar("ItemT")

CHECK_SECONDS = 0.5
# The close code of a websocket whose sign-in has ended, for applications (RFC 6455, section 7.4.2).
ENDED = 4401
# Follows the last item of a source.
END = object()
# The key in the ASGI scope of a handshake that handshake() passes to the HTTP application.
HANDSHAKE = "wristband.handshake"


def check_of(request: HttpRequest | Request) -> Check:
    """
    Returns a function that returns whether the sign-in of this request may go on: it has not ended, and its session or
    access token is still valid. It can be called at any later time and in any thread: no statement, or one if the
    mirror is not current. It raises DatabaseError. Raises PermissionDenied for an anonymous request, and
    ApiKeyNotAllowed.
    """
    http: Any = getattr(request, "_request", request)
    token = getattr(http, "auth", None)
    if isinstance(token, AccessToken):
        return partial(_accepts_token, token.token)
    if isinstance(token, ApiKey):
        raise ApiKeyNotAllowed
    sign_in = http.session.sign_in if http.user.is_authenticated else None
    if sign_in is None:
        raise PermissionDenied
    return partial(_accepts_session, http.session.session_key, sign_in.sid)


def _accepts_token(raw: Any) -> bool:
    try:
        AccessToken(raw)
    except (TokenError, AuthenticationFailed):
        return False
    return True


def _accepts_session(session_key: str, sid: UUID) -> bool:
    sign_in = import_module(settings.SESSION_ENGINE).SessionStore(session_key).sign_in
    return sign_in is not None and sign_in.sid == sid


class Watcher:
    """Checks the open streams of a process, in a thread that runs while there are any, and cancels those that end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._checks: dict[asyncio.Task[Any], Check] = {}
        self._is_running = False

    @contextmanager
    def watching(self, task: asyncio.Task[Any], check: Check) -> Iterator[None]:
        """Inside the block, the task is cancelled when the check fails."""
        with self._lock:
            self._checks[task] = check
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="streams", daemon=True).start()
        try:
            yield
        finally:
            self._remove(task)

    def _remove(self, task: asyncio.Task[Any]) -> None:
        with self._lock:
            self._checks.pop(task, None)

    def _run(self) -> None:
        while checks := self._next():
            for task, check in checks.items():
                if not _passes(check):
                    self._remove(task)
                    # The loop may be closed: then the stream has ended.
                    with suppress(RuntimeError):
                        task.get_loop().call_soon_threadsafe(task.cancel)
            close_old_connections()
            time.sleep(CHECK_SECONDS)
        connections.close_all()

    def _next(self) -> dict[asyncio.Task[Any], Check]:
        with self._lock:
            self._is_running = bool(self._checks)
            return self._checks.copy()


def _passes(check: Check) -> bool:
    """In doubt the stream ends: its client connects again, and gets 503 while the database is unavailable."""
    try:
        return check()
    except DatabaseError:
        return False
    except Exception:
        logger.exception("A stream was ended, since its check failed")
        return False


watcher = Watcher()


# Server-sent events


def while_signed_in(request: HttpRequest | Request, source: AsyncIterator[ItemT]) -> AsyncIterator[ItemT]:
    """
    Returns an iterator for StreamingHttpResponse: the items of `source` until it ends, or the sign-in of the request
    does. The source is closed. Raises PermissionDenied for an anonymous request.
    """
    return _until_end(check_of(request), source)


async def _until_end(check: Check, source: AsyncIterator[ItemT]) -> AsyncIterator[ItemT]:
    # Those of the request would stay open as long as the stream.
    await sync_to_async(connections.close_all)()
    items: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
    task = asyncio.create_task(_produce(source, items))
    try:
        with watcher.watching(task, check):
            while (item := await items.get()) is not END:
                yield item
        await asyncio.wait({task})
        if not task.cancelled():
            # Raises what the source has raised.
            task.result()
    finally:
        await _cancel(task)


async def _produce(source: AsyncIterator[Any], items: asyncio.Queue[Any]) -> None:
    try:
        async for item in source:
            await items.put(item)
    finally:
        if aclose := getattr(source, "aclose", None):
            await aclose()
        await items.put(END)


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# Websockets


class Handshake:
    """A websocket whose handshake has passed the HTTP application, with its user if a view has accepted it."""

    is_accepted = False
    user: Any
    check: Check

    async def run(self, work: Coroutine[Any, Any, Any]) -> bool:
        """
        Runs the coroutine until it returns, or the sign-in ends: then it is cancelled. Returns whether the sign-in has
        ended. Raises what the coroutine raises.
        """
        task = asyncio.create_task(work)
        try:
            with watcher.watching(task, self.check):
                await asyncio.wait({task})
            if not task.cancelled():
                task.result()
            return task.cancelled()
        finally:
            await _cancel(task)


def accept(request: HttpRequest | Request) -> HttpResponse:
    """
    The response of a view that accepts the websocket of a signed-in user. Raises PermissionDenied for an anonymous
    request, and for one with the cookie from a page of another site: browsers let any page open a websocket.
    """
    http: Any = getattr(request, "_request", request)
    passed: Handshake | None = getattr(http, "scope", {}).get(HANDSHAKE)
    check = check_of(request)
    has_token = isinstance(getattr(http, "auth", None), AccessToken)
    if not has_token and cross_site.is_cross_site(http) and not cross_site.is_from_app(http):
        raise PermissionDenied
    if passed is None:
        return HttpResponse(status=HTTPStatus.UPGRADE_REQUIRED, headers={"Upgrade": "websocket"})
    passed.is_accepted, passed.user, passed.check = True, request.user, check
    return HttpResponse(status=HTTPStatus.NO_CONTENT)


async def handshake(application: Application, scope: Scope) -> Handshake | None:
    """
    Passes the handshake of a websocket to the HTTP application as a GET request of the same path, so that middleware,
    authentication and permissions apply. Returns None unless its view returned accept().
    """
    passed = Handshake()
    scheme = "https" if scope.get("scheme") == "wss" else "http"
    requested = {**scope, "type": "http", "method": "GET", "scheme": scheme, HANDSHAKE: passed}
    received, status = False, 0

    async def receive() -> dict[str, Any]:
        nonlocal received
        if received:
            # No disconnection: Django stops listening when it has the response.
            await asyncio.Event().wait()
        received = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    await application(requested, receive, send)
    return passed if passed.is_accepted and status == HTTPStatus.NO_CONTENT else None
