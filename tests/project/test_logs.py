"""The log outside DEBUG: JSON lines with request ids, and without secrets."""

import io
import json
import logging
import platform
import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as project_settings
from django.db import OperationalError, connection
from django.utils.module_loading import import_string

from accounts.models import SecurityEvent, SignIn
from tests.conftest import ApiClient, Browser, send_mails

pytestmark = pytest.mark.django_db(transaction=True)

NEW_PASSWORD = "quiet copper lantern drifts"
TALKATIVE = ("", "django", "django.request", "accounts.events")


class Log:
    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    def of(self, response: Any) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("request_id") == response["X-Request-ID"]]


@pytest.fixture
def log() -> Iterator[Log]:
    """Captures all log lines from DEBUG on, in the format used outside DEBUG."""
    log = Log()
    handler = logging.StreamHandler(log.stream)
    handler.setFormatter(import_string(project_settings.LOGGING["formatters"]["json"]["()"])())
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.DEBUG)
    loggers[0].addHandler(handler)
    yield log
    loggers[0].removeHandler(handler)
    for each, level in zip(loggers, before, strict=True):
        each.setLevel(level)


def away(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    raise OperationalError("the database is away")


def broken(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    raise ZeroDivisionError


def test_no_action_writes_a_secret_to_the_log(
    log: Log, ann: Any, password: str, mailoutbox: Any, client_of: Callable[[Any], ApiClient]
) -> None:
    secrets = {password, NEW_PASSWORD, "a wrong passphrase"}
    browser, api = Browser(raise_request_exception=False), client_of(ann)
    secrets |= {api.access, api.refresh}
    browser.post("/accounts/login/", {"username": "ann", "password": "a wrong passphrase"})
    browser.post("/accounts/login/", {"username": "ann", "password": password})
    secrets |= {cookie.value for cookie in browser.cookies.values()}
    api.post("/api/token/", {"username": "ann", "password": "a wrong passphrase"})
    for _ in range(2):
        api.renew()
        secrets |= {api.access, api.refresh}
    ApiClient(access=f"{api.access}x").get("/api/me/")
    api.get(f"/api/me/?token={api.access}")
    api.get("/api/events/", headers={"Accept": api.refresh})
    api.post("/api/token/revoke/", {"token": api.access})
    browser.get(f"/nothing/{api.refresh}/")
    browser.post("/accounts/password_reset/", {"email": "ann@example.org"})
    browser.post("/accounts/email/", {"new_email": "ann@new.example.org"})
    send_mails()
    links = {
        link for sent in mailoutbox for link in re.findall(r"https?://[^/]+(/accounts/(?:reset|email)/\S+/)", sent.body)
    }
    assert len(links) >= 2
    secrets |= {link.rstrip("/").rpartition("/")[2] for link in links}
    for link in links:
        assert browser.delete(link).status_code == 405
        assert browser.get(f"{link}more/").status_code == 404
        with connection.execute_wrapper(away):
            assert browser.get(link).status_code == 503
        browser.get(link)
    with connection.execute_wrapper(away):
        assert browser.get("/accounts/profile/").status_code == 503
        assert ApiClient().post("/api/token/refresh/", {"refresh": api.refresh}).status_code == 503
    user = {"old_password": password, "new_password1": NEW_PASSWORD}
    browser.post("/accounts/password_change/", user)
    secrets |= {cookie.value for cookie in browser.cookies.values()}
    browser.post("/accounts/logout/")

    types = set(SecurityEvent.objects.values_list("type", flat=True))
    assert {"signed_in", "sign_in_failed", "password_reset_asked", "password_changed", "signed_out"} <= types
    assert types <= {line["message"] for line in log.lines}
    assert len(log.lines) > 20
    secrets.discard("")
    assert [secret for secret in secrets if secret in log.text] == []


def test_a_log_line_has_the_request_id_and_the_user(log: Log, ann: Any, client_of: Callable[[Any], ApiClient]) -> None:
    api = client_of(ann)
    sign_in = SignIn.objects.get()
    ended = api.post("/api/token/blacklist/", {"refresh": api.refresh})
    [line] = [line for line in log.of(ended) if line["logger"] == "accounts.events"]
    assert (line["message"], line["sid"], line["user_id"]) == ("signed_out", str(sign_in.pk), ann.pk)
    assert line["node"] == platform.node()
    # After authentication, the lines of other loggers have the user, too.
    other = client_of(ann)
    answer = other.delete(f"/api/sign-ins/{uuid4()}/")
    assert {(line["status_code"], line["user_id"]) for line in log.of(answer)} == {(404, ann.pk)}


def test_an_error_of_a_page_is_logged_with_its_route_only(log: Log) -> None:
    browser = Browser(raise_request_exception=False)
    with connection.execute_wrapper(broken):
        answer = browser.get("/accounts/reset/MQ/c0ffee-0123456789abcdef/")
    lines = log.of(answer)
    assert "/accounts/reset/<uidb64>/<token>/" in lines[-1]["message"]
    assert "ZeroDivisionError" in "".join(line.get("exception", "") for line in lines)


@pytest.mark.parametrize(
    ("given", "proxies", "is_kept"),
    [
        ("0af7651916cd43dd8448eb211c80319c", ["127.0.0.1"], True),
        ("0af7651916cd43dd8448eb211c80319c", [], False),
        ("short", ["127.0.0.1"], False),
        ("with spaces in it", ["127.0.0.1"], False),
        ("x" * 65, ["127.0.0.1"], False),
        ("line\nbreak-in-it", ["127.0.0.1"], False),
        ("", ["127.0.0.1"], False),
    ],
)
def test_only_a_trusted_proxy_sets_the_request_id(settings: Any, given: str, proxies: list[str], is_kept: bool) -> None:
    settings.TRUSTED_PROXIES = proxies
    sent_back = Browser().get("/health/live", headers={"X-Request-ID": given})["X-Request-ID"]
    assert (sent_back == given) == is_kept
    assert re.fullmatch(r"[0-9a-f]{32}", sent_back)


def test_every_request_has_its_own_id() -> None:
    assert len({Browser().get("/health/live")["X-Request-ID"] for _ in range(5)}) == 5
