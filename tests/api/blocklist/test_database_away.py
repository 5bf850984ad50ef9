"""The database dies under a good subscription to Redis: tokens are checked from memory, for half a minute."""

import json
import time
from collections.abc import Iterator
from uuid import UUID

import httpx
import jwt
import pytest
import redis

from api.blocklist import news
from tests import servers
from tests.api.blocklist.test_workers import mint
from tests.conftest import manage

pytestmark = pytest.mark.once

# DESIGN.md, rule 3, in seconds, less and more what a slow machine may add.
STILL_TRUSTED = 25
TRUSTED_NO_MORE = 33


@pytest.fixture
def postgres() -> Iterator[servers.Postgres]:
    with servers.postgres() as postgres:
        yield postgres


def test_tokens_are_checked_from_memory_for_half_a_minute_and_then_refused_as_unknown(
    postgres: servers.Postgres,
) -> None:
    with servers.valkey() as valkey:
        env = {"DATABASE_URL": postgres.create_database("away"), "REDIS_URL": valkey.url, "DEBUG": "true"}
        manage(env, "migrate", "--verbosity=0")
        (kept, _), (blocked, _), (refused, refresh) = mint(env, 3)
        with servers.node(env, workers=1) as node, httpx.Client(base_url=node.url, timeout=30) as http:

            def verify(token: str) -> httpx.Response:
                return http.post("/api/token/verify/", json={"token": token})

            assert http.post("/api/token/blacklist/", json={"refresh": refresh}).status_code == 200
            # Beyond the first second the mirror is up, and has read everything.
            time.sleep(1.5)
            assert [verify(token).status_code for token in (kept, blocked, refused)] == [200, 200, 401]

            postgres.kill()
            died = time.monotonic()
            answers = {}
            while (age := time.monotonic() - died) < STILL_TRUSTED:
                answers[age] = verify(kept).status_code
                time.sleep(0.1)
            assert set(answers.values()) == {200}, answers
            assert verify(refused).status_code == 401

            # What another process announces is heard all the while.
            sid = UUID(jwt.decode(blocked, options={"verify_signature": False})["sid"])
            redis.Redis.from_url(valkey.url).publish(news.CHANNEL, json.dumps([[sid.hex], int(time.time()) + 900]))
            assert verify(blocked).status_code == 401

            time.sleep(max(0, TRUSTED_NO_MORE - (time.monotonic() - died)))
            answer = verify(kept)
            assert answer.status_code == 503
            assert answer.headers["Retry-After"].isdecimal()
            assert answer.json()["code"] == "unavailable"

            postgres.start()
            deadline = time.monotonic() + 10
            while verify(kept).status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert verify(refused).status_code == 401


def test_what_a_lost_subscription_may_have_missed_is_not_answered_from_memory(postgres: servers.Postgres) -> None:
    with servers.valkey() as valkey:
        env = {"DATABASE_URL": postgres.create_database("away"), "REDIS_URL": valkey.url, "DEBUG": "true"}
        manage(env, "migrate", "--verbosity=0")
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
            # It subscribes anew, and yet knows nothing of what was announced in between.
            deadline = time.monotonic() + 10
            answers = set()
            while not dict(operator.pubsub_numsub(news.CHANNEL))[news.CHANNEL.encode()]:
                answers.add(verify())
                assert time.monotonic() < deadline
            answers |= {verify() for _ in range(20)}
            assert answers == {503}

            postgres.start()
            deadline = time.monotonic() + 10
            while verify() != 200:
                assert time.monotonic() < deadline
                time.sleep(0.1)
