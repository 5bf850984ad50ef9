"""Every worker of every kind of server refuses a token that one of them has revoked."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests import servers
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
        url = os.environ["DATABASE_URL"]
        name = f"workers_{os.getpid()}"
        database = servers.create_database(url, name) if url else f"sqlite:///{tmp_path_factory.mktemp(name)}/db"
        env = {"DATABASE_URL": database, "REDIS_URL": valkey.url, "DEBUG": "true"}
        servers.manage(env, "migrate", "--verbosity=0")
        yield env


def mint(env: dict[str, str], count: int) -> list[tuple[str, str]]:
    lines = servers.manage(env, "shell", "--verbosity=0", "--command", MINT.format(count=count)).split()
    return list(zip(lines[::2], lines[1::2], strict=True))


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="processes"),
        # Without gunicorn.conf.py, which imports the project before the workers are forked.
        pytest.param(["--config", "python:tests"], id="each imports", marks=pytest.mark.once),
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
