"""The check of a stream: whether the sign-in of its request may go on, and which pages may open a websocket."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.test import RequestFactory

from accounts import api_keys, ending
from accounts.models import KeyScope, SignIn, User
from api import streams
from api.api_keys import ApiKeyNotAllowed
from tests import servers
from tests.conftest import ApiClient

pytestmark = pytest.mark.django_db


def request_of(browser: Any) -> Any:
    """Returns the latest request of a browser, as its view has seen it."""
    return browser.get("/accounts/profile/").wsgi_request


def test_the_check_of_a_session_fails_after_its_end(ann: User, browser_of: Callable[[User], Any]) -> None:
    check = streams.check_of(request_of(browser_of(ann)))
    assert check()
    ending.end_all(ann, SignIn.Reason.ENDED_BY_STAFF)
    assert not check()


def test_the_check_of_a_token_fails_after_its_end(ann: User, hers: Any) -> None:
    check = streams.check_of(hers.get("/api/me/").wsgi_request)
    assert check()
    ending.end_all(ann, SignIn.Reason.ENDED_BY_STAFF)
    assert not check()


def test_the_check_of_a_token_fails_when_it_expires(hers: Any, clock: Any) -> None:
    hers.renew()
    check = streams.check_of(hers.get("/api/me/").wsgi_request)
    clock.shift(240)
    assert check()
    clock.shift(120)
    assert not check()


def test_the_check_of_a_replaced_session_key_fails(ann: User, browser_of: Callable[[User], Any], password: str) -> None:
    browser = browser_of(ann)
    check = streams.check_of(request_of(browser))
    browser.post("/accounts/confirm/", {"password": password})
    assert not check()
    assert streams.check_of(request_of(browser))()


def test_a_check_takes_at_most_one_statement(
    ann: User, browser_of: Callable[[User], Any], hers: Any, django_assert_max_num_queries: Any
) -> None:
    checks = [
        streams.check_of(request_of(browser_of(ann))),
        streams.check_of(hers.get("/api/me/").wsgi_request),
    ]
    for check in checks:
        with django_assert_max_num_queries(1):
            assert check()


def test_an_anonymous_request_has_no_check(browser: Any) -> None:
    with pytest.raises(PermissionDenied):
        streams.check_of(browser().get("/accounts/login/").wsgi_request)


@pytest.mark.parametrize(
    ("headers", "is_accepted"),
    [
        ({}, True),
        ({"origin": "https://testserver"}, True),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "https://app.testserver"}, False),
        ({"sec-fetch-site": "same-site", "origin": "https://testserver"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"origin": "null"}, False),
    ],
)
def test_only_own_pages_open_a_websocket_with_the_cookie(
    ann: User, browser_of: Callable[[User], Any], headers: dict[str, str], is_accepted: bool
) -> None:
    signed_in = request_of(browser_of(ann))
    request: Any = RequestFactory().get("/ws/", headers=headers, secure=True)
    request.session, request.user = signed_in.session, signed_in.user
    if is_accepted:
        # Not a websocket, but one would be accepted.
        assert streams.accept(request).status_code == 426
        return
    with pytest.raises(PermissionDenied):
        streams.accept(request)


def test_the_documented_code_is_that_of_the_sample_app() -> None:
    section = (servers.ROOT / "api/README.md").read_text().partition("\n## Streams\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    sources = [(servers.ROOT / f"tests/sample_app/{name}.py").read_text() for name in ("api", "asgi")]
    assert len(blocks) == 3
    for block in blocks:
        assert any(block in source for source in sources), block


def test_an_api_key_opens_no_stream(ann: User) -> None:
    _key, secret = api_keys.make(ann, "nightly report", [KeyScope.READ], timedelta(days=30))
    request = ApiClient(secret).get("/api/me/").wsgi_request
    with pytest.raises(ApiKeyNotAllowed):
        streams.check_of(request)
