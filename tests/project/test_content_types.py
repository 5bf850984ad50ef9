"""A Content-Type that is too long is refused as a wrong one is, on a server that lets it through."""

import io

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import AsyncRequestFactory, RequestFactory

from project.content_types import MAX_LENGTH, limited_asgi, limited_wsgi

pytestmark = pytest.mark.django_db(transaction=True)

PATH, BODY = "/api/token/verify/", b'{"token": "x"}'
TOO_LONG = "application/json" + ";" * MAX_LENGTH


def wsgi_status(content_type: str) -> int:
    environ = RequestFactory().post(PATH, secure=True).environ
    environ |= {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(BODY)), "wsgi.input": io.BytesIO(BODY)}
    answers: list[str] = []
    limited_wsgi(WSGIHandler())(environ, lambda status, headers: answers.append(status)).close()
    return int(answers[0][:3])


async def asgi_status(content_type: str) -> int:
    scope = AsyncRequestFactory().post(PATH, secure=True).scope
    kept = [each for each in scope["headers"] if each[0] not in (b"content-type", b"content-length")]
    scope |= {"headers": [*kept, (b"content-type", content_type.encode()), (b"content-length", b"%d" % len(BODY))]}
    client = ApplicationCommunicator(limited_asgi(ASGIHandler()), scope)
    await client.send_input({"type": "http.request", "body": BODY})
    return int((await client.receive_output(timeout=5))["status"])


@pytest.mark.parametrize(("content_type", "status"), [("application/json", 401), (TOO_LONG, 415)])
def test_a_type_that_is_too_long_is_refused_by_wsgi(content_type: str, status: int) -> None:
    assert wsgi_status(content_type) == status


@pytest.mark.parametrize(("content_type", "status"), [("application/json", 401), (TOO_LONG, 415)])
def test_a_type_that_is_too_long_is_refused_by_asgi(content_type: str, status: int) -> None:
    assert async_to_sync(asgi_status)(content_type) == status
