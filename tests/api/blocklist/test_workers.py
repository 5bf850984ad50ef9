"""Every worker of every kind of server refuses a token that one of them has revoked."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from tests import databases, servers
from tests.conftest import bearer

ROUNDS = 15

MINT = """
from datetime import timedelta
from django.utils import timezone
from accounts import starting
from accounts.models import SignIn, User
from api.serializers import token_pair
user, _ = User.objects.get_or_create(username="ann", email="ann@example.org")
for _ in range({count}):
    sign_in = starting.start(User.objects.get(pk=user.pk), "client", idle_timeout=timedelta(days=1))
    pair = token_pair(sign_in, timezone.now())
    print(pair["access"], pair["refresh"])
"""

# Concurrent requests in one event loop: the threads that run the views share the mirror.
UNDER_ASGI = """
import asyncio, sys, httpx
from project.asgi import application

async def main(access, refresh):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://localhost") as http:
        async def me():
            return (await http.get("/api/me/", headers={"Authorization": f"Bearer {access}"})).status_code
        before = await asyncio.gather(*[me() for _ in range(20)])
        await http.post("/api/token/blacklist/", json={"refresh": refresh})
        after = await asyncio.gather(*[me() for _ in range(20)])
        print(set(before), set(after))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Redis of its own, and the database of this run."""
    with servers.valkey() as valkey:
        database = databases.migrated(tmp_path_factory.mktemp("workers"), "workers")
        env = {"DATABASE_URL": database, "REDIS_URL": valkey.url, "DEBUG": "true"}
        yield env


def mint(env: dict[str, str], count: int) -> list[tuple[str, str]]:
    lines = servers.manage(env, "shell", "--verbosity=0", "--command", MINT.format(count=count)).split()
    return list(zip(lines[::2], lines[1::2], strict=True))


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="processes"),
        # Without project.gunicorn_config, which imports the project before the workers are forked.
        pytest.param(["--config", "python:tests"], id="each imports", marks=[pytest.mark.once, pytest.mark.named]),
        pytest.param(["--threads", "4"], id="threads", marks=pytest.mark.once),
    ],
)
def test_a_revocation_is_refused_by_every_worker_of_every_node(stores: dict[str, str], arguments: list[str]) -> None:
    pairs = mint(stores, ROUNDS)
    with (
        servers.node(stores, args=arguments) as here,
        servers.node(stores, args=arguments) as there,
        httpx.Client(timeout=30) as http,
        ThreadPoolExecutor(8) as pool,
    ):

        def me(access: str) -> Any:
            answer = http.get(f"{there.url}/api/me/", headers=bearer(access))
            return answer.status_code

        for access, refresh in pairs:
            assert set(pool.map(me, [access] * 12)) == {200}
            assert http.post(f"{here.url}/api/token/blacklist/", json={"refresh": refresh}).status_code == 200
            assert set(pool.map(me, [access] * 12)) == {401}


@pytest.mark.long
def test_a_revocation_is_refused_under_asgi(stores: dict[str, str]) -> None:
    (pair,) = mint(stores, 1)
    env = os.environ | stores | {"DJANGO_SETTINGS_MODULE": "project.settings"}
    done = subprocess.run(
        [sys.executable, "-c", UNDER_ASGI, *pair], cwd=servers.ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "{200} {401}", done.stderr


# Raw SQL: no process publishes it, so that each worker reads it from the database.

SIGN_IN = """
from accounts.models import User
for name in {names}:
    User.objects.create_user(name, name + "@example.org", "violet anchor hums at dawn")
"""
SIGN_INS = "user_id = (SELECT id FROM accounts_user WHERE username = %s)"
RAW_WAYS = {
    "password": "UPDATE accounts_user SET password = 'md5$a$b' WHERE username = %s",
    "deactivated": "UPDATE accounts_user SET is_active = false WHERE username = %s",
    "ended": f"UPDATE accounts_signin SET ended_at = now() WHERE {SIGN_INS}",  # noqa: S608 (constants)
    "deleted": f"""
        WITH ended AS (SELECT id FROM accounts_signin WHERE {SIGN_INS}),
        sessions AS (DELETE FROM accounts_session WHERE sign_in_id IN (SELECT id FROM ended))
        DELETE FROM accounts_signin WHERE id IN (SELECT id FROM ended)
    """,  # noqa: S608 (constants)
}


@pytest.mark.long
@pytest.mark.once
def test_every_worker_learns_of_raw_sql_within_a_second(stores: dict[str, str]) -> None:
    names = [f"raw-{way}" for way in RAW_WAYS]
    env = stores | {"TOKEN_RATE": "", "ACCOUNT_RATE": ""}
    servers.manage(env, "shell", "--verbosity=0", "--command", SIGN_IN.format(names=names))
    with servers.node(env) as node, ThreadPoolExecutor(8) as pool, psycopg.connect(stores["DATABASE_URL"]) as database:

        def status(request: tuple[str, dict[str, str]]) -> int:
            # A connection for each request, so that all workers are asked.
            path, headers = request
            return httpx.get(f"{node.url}{path}", headers=headers).status_code

        for name, sql in zip(names, RAW_WAYS.values(), strict=True):
            credentials = {"username": name, "password": "violet anchor hums at dawn"}
            access = httpx.post(f"{node.url}/api/token/", json=credentials).json()["access"]
            with httpx.Client(base_url=node.url) as browser:
                browser.get("/accounts/login/")
                form = credentials | {"csrfmiddlewaretoken": servers.csrf_token(browser.cookies)}
                assert browser.post("/accounts/login/", data=form).status_code == 302
                cookies = "; ".join(f"{key}={value}" for key, value in browser.cookies.items())
            by_token = [("/api/me/", bearer(access))] * 16
            by_session = [("/accounts/profile/", {"Cookie": cookies})] * 16
            assert set(pool.map(status, by_token + by_session)) == {200}
            database.execute(sql, [name])
            database.commit()
            time.sleep(1)
            assert set(pool.map(status, by_token)) == {401}, name
            assert set(pool.map(status, by_session)) == {302}, name
