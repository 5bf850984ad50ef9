"""The context of the current request: client, actor, reason, site URL, language."""

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

# The URL at which `manage.py start` serves the project.
DEVELOPMENT_SITE = "http://127.0.0.1:8000"

REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{8,64}")

_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)
_reason: ContextVar[str] = ContextVar("reason", default="")
_actor: ContextVar[Any] = ContextVar("actor", default=None)


class use_request:
    """Inside the block, this is the current request. A class, since a generator takes three times as long."""

    def __init__(self, request: HttpRequest) -> None:
        self._current = request

    def __enter__(self) -> None:
        self._token = _request.set(self._current)

    def __exit__(self, *exc_info: object) -> None:
        _request.reset(self._token)


def request() -> HttpRequest | None:
    """The current request; None in a command."""
    return _request.get()


def request_id(request: HttpRequest) -> str:
    """The id of the request in the log: X-Request-ID of the proxy if it is well-formed, or else a new one."""
    meta = request.META
    given = meta.get("HTTP_X_REQUEST_ID", "")
    if not given or not REQUEST_ID.fullmatch(given):
        meta["HTTP_X_REQUEST_ID"] = given = os.urandom(16).hex()
    return given


@contextmanager
def acting(reason: str = "", actor: Any = None) -> Iterator[None]:
    """
    Inside the block, security events are recorded with this reason, and with `actor` instead of the user of the
    request, as in a job that acts for a user. Without one of them, that of the block around this one remains.
    """
    tokens = _reason.set(reason or _reason.get()), _actor.set(actor or _actor.get())
    try:
        yield
    finally:
        _reason.reset(tokens[0])
        _actor.reset(tokens[1])


def reason() -> str:
    """The reason that acting() has set; empty by default."""
    return _reason.get()


def ip_address() -> str | None:
    """The client's address; None outside a request, and if the server or its proxy sends none (a Unix socket)."""
    request = _request.get()
    return addresses.canonical(request.META.get("REMOTE_ADDR", "")) if request else None


def user_agent() -> str:
    """The first 512 characters of User-Agent, with control characters replaced; empty outside a request."""
    request = _request.get()
    if request is None:
        return ""
    text = _as_utf8(request.META.get("HTTP_USER_AGENT", ""))[:USER_AGENT_MAX_LENGTH]
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _as_utf8(header: str) -> str:
    """Decodes UTF-8: WSGI and ASGI pass each byte of a header as one character (PEP 3333)."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def site() -> str:
    """
    The URL of this site without a final slash: SITE_URL, or else the host of the request, which ALLOWED_HOSTS has
    checked. The port, which is not checked, is included in DEBUG only. Empty if neither is known.
    """
    if settings.SITE_URL:
        return str(settings.SITE_URL)
    request = _request.get()
    if request is None:
        return DEVELOPMENT_SITE if settings.DEBUG else ""
    host = request.get_host()
    return f"{request.scheme}://{host if settings.DEBUG else split_domain_port(host)[0]}"


def absolute_url_if_known(path: str) -> str:
    """The absolute URL of a path; empty outside a request if SITE_URL is not set."""
    return f"{site_url}{path}" if (site_url := site()) else ""


def absolute_url(path: str) -> str:
    """The absolute URL of a path. Raises ImproperlyConfigured outside a request if SITE_URL is not set."""
    url = absolute_url_if_known(path)
    if not url:
        raise ImproperlyConfigured(
            "A link cannot be made outside a request while SITE_URL is not set. Set SITE_URL to the URL of this site, "
            "for example https://www.example.org"
        )
    return url


def requested_url(request: HttpRequest) -> str:
    """The URL of the request without its query. If SITE_URL is set, the port is from there, not from Host."""
    if not settings.SITE_URL:
        return request.build_absolute_uri(request.path)
    port = urlsplit(settings.SITE_URL).port
    host = split_domain_port(request.get_host())[0]
    return f"{request.scheme}://{host}{f':{port}' if port else ''}{iri_to_uri(request.path)}"


def host() -> str:
    """The host of the request without the port; empty outside a request."""
    request = _request.get()
    return split_domain_port(request.get_host())[0] if request else ""


def language() -> str | None:
    """The language of the request, even if another one is active."""
    return getattr(_request.get(), "LANGUAGE_CODE", None) or translation.get_language()


def is_by_another_user(user: Any) -> bool:
    """Whether the actor is another user than this one."""
    acting_user = actor()
    return acting_user is not None and acting_user.pk != user.pk


def actor() -> Any:
    """
    The user who acts: the one given to acting(), or the signed-in user of the request, or the staff member who is
    signed in as that user; None if there is none.
    """
    user = _actor.get() or getattr(_request.get(), "user", None)
    if user is None or not user.is_authenticated:
        return None
    return getattr(user, "acting_staff", None) or user


def sid_of(user: Any) -> UUID | None:
    """The sid of the current request if it is one of this user; None for other users and anonymous requests."""
    request = _request.get()
    if request is None or actor() != user:
        return None
    # `auth` is the token of an API request.
    sign_in = getattr(request, "auth", None) or getattr(getattr(request, "session", None), "sign_in", None)
    return sign_in.sid if sign_in and sign_in.user_id == user.pk else None
