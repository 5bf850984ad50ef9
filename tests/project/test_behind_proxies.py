"""Real nodes behind proxies and load balancers."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import servers

pytestmark = [pytest.mark.once, pytest.mark.long]

KEY = "7Qm2xVr9Lk4TzWc8NfHs3YbJd6PgAu5EeKt1RoXi0qWmZpL7vBnMxCd"
PASSWORD = "violet anchor hums at dawn"
HTTPS = {"x-forwarded-proto": "https"}


class DualStackNode:
    """A node outside DEBUG that listens on IPv4 and IPv6."""

    def __init__(self, node: servers.Node, port: int, env: dict[str, str]) -> None:
        self.log, self.env = node, env
        self.v4, self.v6 = f"http://127.0.0.1:{port}", f"http://[::1]:{port}"

    def get(self, path: str, base: str = "", **headers: str) -> httpx.Response:
        headers = {"host": "www.example.org"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.get((base or self.v4) + path, headers=headers, timeout=30, verify=servers.AUTHORITIES)

    def sign_in(self, name: str, password: str, **headers: str) -> int:
        headers = {"host": "www.example.org"} | HTTPS | {n.replace("_", "-"): value for n, value in headers.items()}
        body = {"username": name, "password": password}
        url = f"{self.v4}/api/token/"
        return httpx.post(url, json=body, headers=headers, timeout=30, verify=servers.AUTHORITIES).status_code

    def shell(self, code: str) -> str:
        return servers.manage(self.env, "shell", "--verbosity=0", "--command", code).strip()


def serve(folder: Path, **env: str) -> Iterator[DualStackNode]:
    env = {
        "SECRET_KEY": KEY,
        "DEBUG": "false",
        "ENV_FILE": "",
        "ALLOWED_HOSTS": "www.example.org",
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "EMAIL_URL": "consolemail://",
    } | env
    servers.manage(env, "migrate", "--verbosity=0")
    port = servers.free_port()
    with servers.node(env, workers=2, args=[f"--bind=[::]:{port}"]) as node:
        yield DualStackNode(node, port, env)


@pytest.fixture(scope="module", autouse=True)
def ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("This machine has no IPv6")


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DualStackNode]:
    yield from serve(tmp_path_factory.mktemp("behind"), TRUSTED_PROXIES="127.0.0.1, 10.0.0.0/8")


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DualStackNode]:
    yield from serve(tmp_path_factory.mktemp("exposed"))


def test_a_page_behind_an_ipv4_proxy_has_no_redirect_loop(behind_proxy: DualStackNode) -> None:
    assert behind_proxy.get("/accounts/login/", **HTTPS).status_code == 200
    assert behind_proxy.get("/accounts/login/").status_code == 301
    # ::1 is not one of TRUSTED_PROXIES.
    assert behind_proxy.get("/accounts/login/", behind_proxy.v6, **HTTPS).status_code == 301


def test_a_client_behind_a_proxy_has_its_own_address(behind_proxy: DualStackNode) -> None:
    make = "from accounts.models import User; User.objects.create_user('ann', 'ann@example.org', {!r})"
    behind_proxy.shell(make.format(PASSWORD))
    assert behind_proxy.sign_in("ann", PASSWORD, x_forwarded_for="6.6.6.6, 203.0.113.9:51234") == 200
    recorded = "from accounts.models import SignIn; print(SignIn.objects.get().ip_address)"
    assert behind_proxy.shell(recorded) == "203.0.113.9"


@pytest.mark.parametrize(
    "claim",
    [HTTPS, {"x_forwarded_protocol": "ssl"}, {"x_forwarded_ssl": "on"}, HTTPS | {"x_forwarded_for": "10.0.0.5"}],
    ids=str,
)
def test_without_trusted_proxies_the_https_header_is_ignored(exposed: DualStackNode, claim: dict[str, str]) -> None:
    """gunicorn itself trusts the header of any process on the same machine."""
    for base in (exposed.v4, exposed.v6):
        assert exposed.get("/accounts/login/", base, **claim).status_code == 301
        refused = exposed.get("/api/me/", base, **claim)
        assert (refused.status_code, refused.json()["code"]) == (403, "https_required")


def test_probes_by_ip_address_are_not_logged(exposed: DualStackNode) -> None:
    before = exposed.log.log
    for host in ("10.0.0.3:8000", "[2001:db8::3]:8000", "127.0.0.1"):
        assert exposed.get("/health/live", host=host).status_code == 200
        assert exposed.get("/health/ready", host=host).status_code == 200
    assert exposed.log.log == before


def test_a_scanner_causes_one_log_line_without_a_traceback(exposed: DualStackNode) -> None:
    before = len(exposed.log.log)
    assert exposed.get("/accounts/login/", host="evil.example", **HTTPS).status_code in (301, 400)
    assert exposed.get("/", host="evil.example").status_code == 400
    said = exposed.log.log[before:]
    assert "Traceback" not in said
    assert "ERROR" not in said
    # Beside them there may be one line about the header of an untrusted peer.
    assert sum("evil.example" in line for line in said.splitlines()) <= 2


# Projects in DEBUG on one machine


def cookie_names(root: Path, debug: bool) -> list[str]:
    code = (
        "from django.conf import settings as s;"
        "print(s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME, s.DEVICE_COOKIE_NAME, s.LANGUAGE_COOKIE_NAME)"
    )
    env = os.environ | {"DEBUG": str(debug), "ENV_FILE": "", "SECRET_KEY": KEY, "DATABASE_URL": "sqlite://:memory:"}
    command = [sys.executable, "manage.py", "shell", "--verbosity=0", "--command", code]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=True).stdout.split()


def test_two_debug_projects_on_one_machine_have_separate_cookies(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    left_behind = shutil.ignore_patterns(".git", "var", ".*_cache", "__pycache__", "tests", "locale")
    shutil.copytree(servers.ROOT, copy, ignore=left_behind)
    here, there = cookie_names(servers.ROOT, debug=True), cookie_names(copy, debug=True)
    assert len({*here, *there}) == 8
    assert all(re.fullmatch(r"\w+-[0-9a-f]{8}", name) for name in [*here, *there])
    assert here == cookie_names(servers.ROOT, debug=True)
    expected: Any = ["__Host-sessionid", "__Host-csrftoken", "__Host-device", "__Host-language"]
    assert cookie_names(copy, debug=False) == expected
