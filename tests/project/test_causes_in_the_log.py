"""What an operator reads when a store fails: each cause once, with its exception, and its end once."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests import servers

pytestmark = [pytest.mark.once, pytest.mark.long]

PASSPHRASE = "violet anchor hums at dawn"
HEADERS = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}


class BreakableNode:
    """A node of one worker, with stores of its own."""

    def __init__(self, node: servers.Node, postgres: servers.Postgres, valkey: servers.Valkey) -> None:
        self.node, self.postgres, self.valkey = node, postgres, valkey
        self.http = httpx.Client(base_url=node.url, headers=HEADERS, timeout=30, trust_env=False)
        account = {"username": "ann", "email": "ann@example.net", "password": PASSPHRASE}
        assert self.http.post("/api/register/", json=account).status_code == 201
        self.account = account
        self.access = self.sign_in().json()["access"]
        self._read = 0

    def sign_in(self) -> httpx.Response:
        return self.http.post("/api/token/", json=self.account)

    def requests(self) -> None:
        """A probe, and requests that use each store."""
        for _ in range(5):
            self.http.get("/health/ready")
            self.http.get("/api/me/", headers={"Authorization": f"Bearer {self.access}"})
            self.sign_in()
            self.http.get("/accounts/login/")

    def new_lines(self) -> list[dict[str, Any]]:
        """Returns the log lines of failures and of their end since the last call."""
        lines = self.node.log.splitlines()
        new, self._read = lines[self._read :], len(lines)
        found = [json.loads(line) for line in new if line.startswith("{")]
        return [line for line in found if line["level"] != "INFO" and not line["logger"].startswith("accounts.")]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BreakableNode]:
    with servers.postgres() as postgres, servers.valkey() as valkey:
        env = {
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            "DATABASE_URL": postgres.create_database("project"),
            "REDIS_URL": valkey.url,
            "TRUSTED_PROXIES": "127.0.0.1",
        }
        servers.manage(env, "migrate", "--verbosity=0")
        with servers.node(env, 1) as node:
            yield BreakableNode(node, postgres, valkey)


def test_an_unavailable_database_has_a_cause_and_an_end(broken: BreakableNode) -> None:
    broken.requests()
    broken.new_lines()
    broken.postgres.stop()
    broken.requests()
    lines = broken.new_lines()
    # The open connection breaks, and a new one is refused.
    assert 1 <= len(lines) <= 2
    assert "OperationalError" in lines[0]["exception"]
    assert "connection" in lines[-1]["message"]
    broken.postgres.start()
    servers.wait_until(lambda: broken.sign_in().status_code == 200)
    time.sleep(5)
    broken.requests()
    ends = [line["message"] for line in broken.new_lines() if line["logger"] == "api.outages"]
    assert ends == ["The database is available again"]


def test_a_wrong_password_of_redis_is_named_and_its_end_too(broken: BreakableNode) -> None:
    broken.requests()
    broken.new_lines()
    with redis.Redis(port=broken.valkey.port) as admin:
        admin.config_set("requirepass", "another")
        for kind in ("normal", "pubsub"):
            admin.execute_command("CLIENT KILL TYPE", kind, "SKIPME", "yes")
    for _ in range(2):
        broken.requests()
        time.sleep(1)
    messages = [line["message"] for line in broken.new_lines()]
    assert 1 <= len(messages) <= 2
    assert "uthentication required" in messages[-1]
    with redis.Redis(port=broken.valkey.port, password="another") as admin:
        admin.config_set("requirepass", "")
    time.sleep(1)
    broken.requests()
    servers.wait_until(lambda: broken.requests() or broken.http.get("/health/ready").json()["redis"] == "up")
    broken.requests()
    assert [line["message"] for line in broken.new_lines()] == ["Blocklist messages from Redis are received again"]


def test_a_trusted_proxy_that_is_not_in_the_settings_is_named_once(tmp_path: Path) -> None:
    env = {
        "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
        "REDIS_URL": "",
        "TRUSTED_PROXIES": "10.0.0.5",
    }
    with servers.node(env, 1) as node, httpx.Client(base_url=node.url, headers=HEADERS, trust_env=False) as http:
        for _ in range(3):
            assert http.get("/accounts/login/").status_code == 301
        lines = [json.loads(line)["message"] for line in node.log.splitlines() if line.startswith("{")]
    assert lines == ["X-Forwarded-Proto of 127.0.0.1 is ignored, since TRUSTED_PROXIES does not contain this address"]
