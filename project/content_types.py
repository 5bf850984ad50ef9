"""
Applications for which a Content-Type that is too long is none, so that no view accepts the body. Django 6.1 raises
BadRequest for it before its handlers of errors: the answer would be 500. Gunicorn refuses a header of 8,190 bytes.
"""

from collections.abc import Awaitable, Callable
from typing import Any

# Of django.utils.http.parse_header_parameters().
MAX_LENGTH = 10_000

Wsgi = Callable[[dict[str, Any], Any], Any]
Asgi = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


def limited_wsgi(application: Wsgi) -> Wsgi:
    def limited(environ: dict[str, Any], start_response: Any) -> Any:
        if len(environ.get("CONTENT_TYPE", "")) > MAX_LENGTH:
            environ["CONTENT_TYPE"] = ""
        return application(environ, start_response)

    return limited


def limited_asgi(application: Asgi) -> Asgi:
    async def limited(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if "headers" in scope:
            headers = [each for each in scope["headers"] if each[0] != b"content-type" or len(each[1]) <= MAX_LENGTH]
            scope = {**scope, "headers": headers}
        await application(scope, receive, send)

    return limited
