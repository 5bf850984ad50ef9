"""Nodes while PostgreSQL is stopped or killed, and after it is back."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import httpx
import pytest
import redis

from api.blocklist import pubsub
from tests import servers
from tests.api.blocklist.test_workers import mint
from tests.conftest import bearer, claims_of

pytestmark = pytest.mark.once

# DESIGN.md, rule 3, in seconds, with a tolerance for slow machines.
STILL_TRUSTED = 20
TRUSTED_NO_MORE = 33
# The statement timeout, its margin, and a tolerance for slow machines.
BOUND = 1 + 1 + 1.5
# The connect timeout is three seconds.
CONNECT_BOUND = 3 + 1.5
AS_DEPLOYED = {
    "DATABASE_TIMEOUT_SECONDS": "1",
    "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
    "TRUSTED_PROXIES": "127.0.0.1",
}
PASSWORD = "violet anchor hums at dawn"
MAKE_ANN = f"""
from accounts.models import User
User.objects.create_user("anna", "anna@example.org", {PASSWORD!r})
"""


class Asker:
    """Sends requests to a node and records the slowest response since the last reading."""

    def __init__(self, url: str) -> None:
        # As a TLS-terminating proxy does.
        headers = {"X-Forwarded-Proto": "https", "Origin": url.replace("http:", "https:")}
        self.http = httpx.Client(base_url=url, timeout=30, headers=headers)
        self.slowest = 0.0

    def ask(self, method: str, path: str, **how: object) -> httpx.Response:
        asked = time.monotonic()
        answer = self.http.request(method, path, **how)  # type: ignore[arg-type]
        self.slowest = max(self.slowest, time.monotonic() - asked)
        for cookie in self.http.cookies.jar:
            cookie.secure = False
        return answer

    def verify(self, token: str) -> httpx.Response:
        return self.ask("POST", "/api/token/verify/", json={"token": token})

    def answers_until(self, ends: float, token: str) -> set[int]:
        statuses = set()
        while time.monotonic() < ends:
            statuses.add(self.verify(token).status_code)
            time.sleep(0.02)
        return statuses

    def me(self, token: str) -> httpx.Response:
        return self.ask("GET", "/api/me/", headers=bearer(token))

    def health(self) -> tuple[int, int]:
        """The status codes of /health/live and /health/ready."""
        return self.ask("GET", "/health/live").status_code, self.ask("GET", "/health/ready").status_code

    def take_slowest(self) -> float:
        slowest, self.slowest = self.slowest, 0.0
        return slowest


@pytest.fixture
def postgres() -> Iterator[servers.Postgres]:
    with servers.postgres() as postgres:
        yield postgres


def is_unavailable(answer: httpx.Response) -> bool:
    return answer.status_code == 503 and answer.headers["Retry-After"].isdecimal()


@pytest.mark.long
def test_a_stopped_database_times_out_and_a_dead_one_fails_at_once(
    postgres: servers.Postgres,
) -> None:
    """Tokens are checked from memory for half a minute; then the response is 503."""
    with servers.valkey() as valkey:
        env = {"DATABASE_URL": postgres.create_database("away"), "REDIS_URL": valkey.url, **AS_DEPLOYED}
        servers.manage(env, "migrate", "--verbosity=0")
        servers.manage(env, "shell", "--verbosity=0", "--command", MAKE_ANN)
        (kept, _), (blocked, _), (refused, refresh) = mint(env, 3)
        with servers.node(env, workers=1, args=["--threads=4"]) as node:
            client = Asker(node.url)
            assert client.ask("POST", "/api/token/blacklist/", json={"refresh": refresh}).status_code == 200
            page = client.ask("GET", "/accounts/login/")
            form = {"username": "anna", "password": PASSWORD, "csrfmiddlewaretoken": page.cookies["__Host-csrftoken"]}
            assert client.ask("POST", "/accounts/login/", data=form).status_code == 302
            assert client.ask("GET", "/accounts/profile/").status_code == 200
            # After one second the mirror has loaded all entries.
            time.sleep(1.5)
            assert [client.verify(token).status_code for token in (kept, blocked, refused)] == [200, 200, 401]

            postgres.pause()
            stopped, answers = time.monotonic(), {}
            client.take_slowest()
            # From the start of the outage: one request waits for the database, the others do not.
            with ThreadPoolExecutor(4) as threads:
                results = [threads.submit(client.answers_until, stopped + BOUND, kept) for _ in range(4)]
                assert {status for each in results for status in each.result()} == {200}
            # Requests that need the database, of a client and of a browser.
            assert is_unavailable(client.me(kept))
            page = client.ask("GET", "/accounts/profile/")
            assert is_unavailable(page)
            assert "text/html" in page.headers["Content-Type"]
            assert client.take_slowest() < BOUND + CONNECT_BOUND
            while (age := time.monotonic() - stopped) < STILL_TRUSTED:
                answers[age] = (client.verify(kept).status_code, client.verify(refused).status_code, *client.health())
                time.sleep(0.1)
            assert set(answers.values()) == {(200, 401, 200, 503)}, answers
            assert client.take_slowest() < CONNECT_BOUND

            # Broadcasts of other processes arrive during the outage.
            sid = UUID(claims_of(blocked)["sid"])
            redis.Redis.from_url(valkey.url).publish(pubsub.CHANNEL, json.dumps([[sid.hex], int(time.time()) + 900]))
            assert client.verify(blocked).status_code == 401

            time.sleep(max(0, TRUSTED_NO_MORE - (time.monotonic() - stopped)))
            answer = client.verify(kept)
            assert is_unavailable(answer)
            assert answer.json()["code"] == "unavailable"
            assert client.take_slowest() < CONNECT_BOUND

            postgres.resume()
            servers.wait_until(lambda: client.verify(kept).status_code == 200, seconds=10)
            servers.wait_until(lambda: client.me(kept).status_code == 200, seconds=10)
            servers.wait_until(lambda: client.ask("GET", "/accounts/profile/").status_code == 200, seconds=10)
            # Each thread detects by itself that its connection is closed.
            servers.wait_until(lambda: client.health() == (200, 200), seconds=10)
            servers.wait_until(lambda: client.verify(refused).status_code == 401, seconds=10)
            # The pause before the next read is as long as the last read took.
            time.sleep(CONNECT_BOUND)
            assert client.verify(kept).status_code == 200

            postgres.kill()
            client.take_slowest()
            assert client.verify(kept).status_code == 200
            assert is_unavailable(client.me(kept))
            assert client.health() == (200, 503)
            assert client.take_slowest() < 1

            postgres.start()
            servers.wait_until(lambda: client.me(kept).status_code == 200, seconds=10)
            servers.wait_until(lambda: client.health() == (200, 200), seconds=10)


@pytest.mark.long
def test_checks_skip_memory_after_a_lost_subscription(postgres: servers.Postgres) -> None:
    with servers.valkey() as valkey:
        env = {"DATABASE_URL": postgres.create_database("away"), "REDIS_URL": valkey.url, "DEBUG": "true"}
        servers.manage(env, "migrate", "--verbosity=0")
        ((kept, _),) = mint(env, 1)
        with servers.node(env, workers=1) as node, httpx.Client(base_url=node.url, timeout=30) as http:

            def verify() -> int:
                return http.post("/api/token/verify/", json={"token": kept}).status_code

            assert verify() == 200
            time.sleep(1.5)
            assert verify() == 200
            postgres.kill()
            assert verify() == 200

            operator = redis.Redis.from_url(valkey.url)
            assert operator.client_kill_filter(_type="pubsub") == 1
            # It subscribes again, but has missed the messages in between.
            deadline = time.monotonic() + 10
            answers = set()
            while not dict(operator.pubsub_numsub(pubsub.CHANNEL))[pubsub.CHANNEL.encode()]:
                answers.add(verify())
                assert time.monotonic() < deadline
            answers |= {verify() for _ in range(20)}
            assert answers == {503}

            postgres.start()
            deadline = time.monotonic() + 10
            while verify() != 200:
                assert time.monotonic() < deadline
                time.sleep(0.1)
