"""Where the work at hand comes from, and why it is done: what sign-ins and security events say of it."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.request import split_domain_port
from django.utils import translation
from django.utils.encoding import iri_to_uri

from accounts import addresses

USER_AGENT_MAX_LENGTH = 512

# Where `manage.py start` serves the project.
DEVELOPMENT_SITE = "http://127.0.0.1:8000"

REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{8,64}")

_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)
_reason: ContextVar[str] = ContextVar("why", default="")
_actor: ContextVar[Any] = ContextVar("actor", default=None)


@contextmanager
def use_request(request: HttpRequest) -> Iterator[None]:
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


def request() -> HttpRequest | None:
    """None for a command."""
    return _request.get()


def request_id(request: HttpRequest) -> str:
    """By which its lines in the log are found: the one that a proxy gave it, or a new one."""
    meta = request.META
    given = meta.get("HTTP_X_REQUEST_ID", "")
    if not given or not REQUEST_ID.fullmatch(given):
        meta["HTTP_X_REQUEST_ID"] = given = os.urandom(16).hex()
    return given


@contextmanager
def acting(reason: str, actor: Any = None) -> Iterator[None]:
    """
    What is done inside was done for that reason, in the words of whoever does it: every event of it says so. `actor`:
    whose work it goes on with, if it is not done by whoever asks.
    """
    tokens = _reason.set(reason), _actor.set(actor)
    try:
        yield
    finally:
        _reason.reset(tokens[0])
        _actor.reset(tokens[1])


def reason() -> str:
    return _reason.get()


def ip_address() -> str | None:
    """The client's address; None outside a request, and where the server or its proxy sends none (a Unix socket)."""
    request = _request.get()
    return addresses.canonical(request.META.get("REMOTE_ADDR", "")) if request else None


def user_agent() -> str:
    """The client's own name for itself, cut to 512 characters, with nothing in it that a terminal or a log obeys."""
    request = _request.get()
    if request is None:
        return ""
    text = _as_utf8(request.META.get("HTTP_USER_AGENT", ""))[:USER_AGENT_MAX_LENGTH]
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _as_utf8(header: str) -> str:
    """WSGI and ASGI give each byte of a header as one character (PEP 3333)."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def site() -> str:
    """
    The URL of this site, without a slash at the end: SITE_URL or else, in a request, its host, which ALLOWED_HOSTS has
    checked; its port, which nothing has checked, in DEBUG only. Empty if neither is known.
    """
    if settings.SITE_URL:
        return str(settings.SITE_URL)
    request = _request.get()
    if request is None:
        return DEVELOPMENT_SITE if settings.DEBUG else ""
    host = request.get_host()
    return f"{request.scheme}://{host if settings.DEBUG else split_domain_port(host)[0]}"


def absolute_url_if_known(path: str) -> str:
    """Empty for work outside a request while SITE_URL is not set."""
    return f"{known}{path}" if (known := site()) else ""


def absolute_url(path: str) -> str:
    """Raises ImproperlyConfigured for work outside a request while SITE_URL is not set."""
    url = absolute_url_if_known(path)
    if not url:
        raise ImproperlyConfigured(
            "A link cannot be made outside a request while SITE_URL is not set. Set SITE_URL to the URL of this site, "
            "for example https://www.example.org"
        )
    return url


def requested_url(request: HttpRequest) -> str:
    """The URL that was requested, without its query. If SITE_URL is set, the port is that one's, whatever Host says."""
    if not settings.SITE_URL:
        return request.build_absolute_uri(request.path)
    port = urlsplit(settings.SITE_URL).port
    host = split_domain_port(request.get_host())[0]
    return f"{request.scheme}://{host}{f':{port}' if port else ''}{iri_to_uri(request.path)}"


def host() -> str:
    """The name that was asked, without the port; empty outside a request."""
    request = _request.get()
    return split_domain_port(request.get_host())[0] if request else ""


def language() -> str | None:
    """The one that was asked for, whatever the answer is in."""
    return getattr(_request.get(), "LANGUAGE_CODE", None) or translation.get_language()


def is_by_another_user(user: Any) -> bool:
    """Whether the work at hand, which concerns this user, is asked for by another one."""
    by = actor()
    return by is not None and by.pk != user.pk


def actor() -> Any:
    """Who is signed in and asks for the work at hand; None for a command or a stranger."""
    user = _actor.get() or getattr(_request.get(), "user", None)
    return user if user is not None and user.is_authenticated else None


def sid_of(user: Any) -> UUID | None:
    """The sign-in of this user by which the request at hand is made; None if it is another user's, or anonymous."""
    request = _request.get()
    if request is None or actor() != user:
        return None
    # A token of the API, or else the session's sign-in.
    sign_in = getattr(request, "auth", None) or getattr(getattr(request, "session", None), "sign_in", None)
    return sign_in.sid if sign_in and sign_in.user_id == user.pk else None
