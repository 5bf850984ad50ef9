"""Host names: notations of the own host, unknown hosts, health probes, and SCRIPT_NAME."""

import logging
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from accounts.http import hosts
from tests import servers
from tests.conftest import ApiClient, Browser

HOST, ORIGIN = "www.example.org", "https://www.example.org"
OURS = [
    HOST,
    "www.example.org:443",
    "www.example.org:0443",
    "www.example.org:",
    "www.example.org:80",
    "WWW.Example.ORG",
    "www.example.org.",
    "WWW.EXAMPLE.ORG.:443",
]
BROWSER = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}
OLD_BROWSER = {"origin": ORIGIN}
NO_ORIGIN = {"referer": f"{ORIGIN}/accounts/login/"}

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def served_at(settings: Any) -> None:
    settings.ALLOWED_HOSTS = [HOST, "testserver"]


@pytest.mark.parametrize("host", OURS)
@pytest.mark.parametrize("headers", [BROWSER, OLD_BROWSER, NO_ORIGIN], ids=["browser", "old browser", "no origin"])
def test_a_form_is_accepted_with_every_notation_of_the_host(
    ann: Any, password: str, host: str, headers: dict[str, str]
) -> None:
    browser = Browser(enforce_csrf_checks=True, HTTP_HOST=host)
    page = browser.get("/accounts/login/").content.decode()
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[:1]
    form = {"csrfmiddlewaretoken": token, "username": "ann", "password": password}
    assert browser.post("/accounts/login/", form, headers=headers).status_code == 302


@pytest.mark.parametrize("host", OURS)
def test_links_have_the_canonical_host(host: str) -> None:
    answer = Browser(HTTP_HOST=host).get("/accounts/profile/")
    assert answer.wsgi_request.build_absolute_uri("/") == f"{ORIGIN}/"


def test_http_redirects_to_https_without_the_http_port(client: Any, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert client.get("/", HTTP_HOST=f"{HOST}:80")["Location"] == f"{ORIGIN}/"


def test_another_port_is_another_origin() -> None:
    assert hosts.canonical("www.example.org:8443", "https") == "www.example.org:8443"
    assert hosts.canonical("[::1]:443", "https") == "[::1]"
    assert hosts.canonical_origin("https://www.example.org:80") == "https://www.example.org:80"
    browser = Browser(HTTP_HOST=HOST)
    for origin in ("https://www.example.org:8443", "https://www.example.org:80", "http://www.example.org"):
        assert browser.post("/accounts/login/", {}, headers={"origin": origin}).status_code == 403


@pytest.mark.parametrize(
    ("setting", "origin"),
    [
        ("HTTP://App.Example.net:80", "http://app.example.net"),
        ("https://APP.example.net:443", "https://app.example.net"),
        ("https://*.Example.net", "https://*.example.net"),
        ("http://localhost:5173", "http://localhost:5173"),
        (" https://app.example.net", "https://app.example.net"),
    ],
)
def test_origins_in_settings_accept_capitals_and_default_ports(setting: str, origin: str) -> None:
    assert hosts.canonical_origin(setting) == origin


# The log


def refusals(caplog: Any) -> list[logging.LogRecord]:
    return [record for record in caplog.records if "Refused a form" in record.getMessage()]


@pytest.mark.parametrize(
    ("headers", "cause"),
    [
        ({"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, "cross-site"),
        ({"origin": "https://evil.example"}, "https://evil.example"),
        ({"sec-fetch-site": "same-origin", "origin": f"{ORIGIN}:8443"}, f"{ORIGIN}:8443"),
        ({"referer": "https://evil.example/reset/secret-token/?code=secret-code"}, "https://evil.example"),
        ({}, "no Referer"),
        (OLD_BROWSER, "CSRF cookie not set"),
    ],
)
def test_a_refused_form_is_one_log_line_with_its_cause(caplog: Any, headers: dict[str, str], cause: str) -> None:
    browser = Browser(enforce_csrf_checks=True, HTTP_HOST=HOST)
    assert browser.post("/accounts/login/?next=/secret/", {"password": "secret"}, headers=headers).status_code == 403
    [line] = refusals(caplog)
    assert line.levelno == logging.WARNING
    assert cause in line.getMessage()
    assert "secret" not in line.getMessage()
    assert len(line.getMessage()) < 500


def test_a_refused_api_call_is_one_log_line_with_its_cause(caplog: Any, browser_of: Any, ann: Any) -> None:
    browser = browser_of(ann)
    browser.handler.enforce_csrf_checks = True
    answer = browser.patch("/api/me/", "{}", "application/json", headers={"referer": "https://testserver/"})
    assert answer.status_code == 403
    [line] = refusals(caplog)
    assert "CSRF token" in line.getMessage()


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/api/me/", "/nothing/"])
@pytest.mark.parametrize(
    "host", ["evil.example", "203.0.113.9:8000", "", "x" * 3000, "a b", "www.example.org:99999999"]
)
def test_an_unknown_host_is_one_short_log_line(caplog: Any, path: str, host: str) -> None:
    answer = Browser(raise_request_exception=False).get(path, HTTP_HOST=host)
    assert answer.status_code == 400
    [line] = caplog.records
    assert line.levelno <= logging.WARNING
    assert line.exc_info is None
    assert "\n" not in line.getMessage()
    assert len(line.getMessage()) <= 300


# Probes


@pytest.mark.parametrize("host", ["10.0.0.3:8000", "[2001:db8::3]:8000", "instance-17.internal", "a b", ""])
@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_a_health_probe_is_answered_for_any_host(client: Any, caplog: Any, host: str, path: str) -> None:
    answer = client.get(path, HTTP_HOST=host, headers={"origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["status"]) == (200, "up")
    assert not caplog.records
    assert client.post(path, HTTP_HOST=host).status_code == 405


@pytest.mark.parametrize(
    "path", ["/health/", "/health/live/", "/health/live/x", "//health/live", "/metrics", "/health"]
)
def test_other_paths_are_refused_for_an_unknown_host(path: str) -> None:
    assert Browser().get(path, HTTP_HOST="10.0.0.3:8000").status_code == 400


# SCRIPT_NAME


def test_a_request_below_a_path_is_refused_and_logged(caplog: Any) -> None:
    for path in ("/accounts/login/", "/health/live", "/api/me/"):
        caplog.clear()
        assert Browser().get(path, SCRIPT_NAME="/app").status_code == 400
        assert "SCRIPT_NAME" in caplog.text
        assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.once
def test_a_script_name_stops_the_start() -> None:
    env = os.environ | {"SCRIPT_NAME": "/app", "DEBUG": "true"}
    ended = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=servers.ROOT, env=env, capture_output=True, text=True
    )
    assert ended.returncode != 0
    assert "SCRIPT_NAME must not be set" in ended.stderr


def test_a_bound_call_uses_the_canonical_address(ann: Any) -> None:
    """The claim `htu` of a DPoP proof contains the address that the client knows."""
    answer = ApiClient().get("/api/me/", headers={"host": "WWW.Example.org:443"})
    assert answer.wsgi_request.build_absolute_uri(answer.wsgi_request.path) == f"{ORIGIN}/api/me/"
