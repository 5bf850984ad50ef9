"""A stock SimpleJWT project with 1,000 users moves in: no user is signed out, and each old token works once."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import httpx
import psycopg
import pytest

from tests import databases, old_project, servers
from tests.conftest import claims_of

pytestmark = [pytest.mark.long, pytest.mark.once, pytest.mark.timeout(300)]

USERS = 1000
COUNTS = "SELECT count(*), sum(CASE WHEN is_staff THEN 1 ELSE 0 END) FROM {}"
SIGN_INS = "SELECT count(*) FROM accounts_signin WHERE name = ''"


def test_a_stock_project_moves_in_and_no_user_is_signed_out(tmp_path):
    old = old_project.start_project(tmp_path)
    given = old.populate(USERS)
    tokens, sessions = given["tokens"], given["sessions"]
    with old.served() as url, httpx.Client(base_url=url) as client:
        # A token and a session of real requests, and a user who has signed out.
        password = {"username": "user2", "password": "passphrase number 2"}
        tokens["user2"] = client.post("/api/token/", json=password).json()["refresh"]
        assert client.get("/", headers={"Cookie": f"sessionid={sessions['user6']}"}).text == "user6"
        revoked = tokens.pop("user5")
        assert client.post("/api/token/blacklist/", json={"refresh": revoked}).status_code == 200
        assert client.post("/api/token/refresh/", json={"refresh": revoked}).status_code == 401
    with sqlite3.connect(tmp_path / "db.sqlite3") as database:
        assert database.execute(COUNTS.format("auth_user")).fetchone() == (USERS, 10)

    env = _environment(old, tmp_path)
    output = servers.manage(env, "import_users", "env:IMPORT_FROM")
    assert dict(re.findall(r"^([a-z ]+): (\d+)$", output, re.MULTILINE)) == {
        "users": str(USERS),
        "ids kept": str(USERS),
        "staff": "10",
        "permissions and memberships": "50",
        "revoked tokens of the blacklist": "1",
        "sessions to continue": str(len(sessions)),
    }
    with psycopg.connect(env["DATABASE_URL"]) as database:
        assert database.execute(COUNTS.format("accounts_user")).fetchone() == (USERS, 10)

    with servers.node(env, workers=2) as node, httpx.Client(base_url=node.url) as client:
        pairs = _all(partial(_refresh, client), tokens.values())
        assert {pair.status_code for pair in pairs} == {200}
        assert [claims_of(pair.json()["access"])["username"] for pair in pairs] == list(tokens)
        # Once: a successor works, an old token does not.
        successors = [pair.json()["refresh"] for pair in pairs[:20]]
        assert {each.status_code for each in _all(partial(_refresh, client), successors)} == {200}
        assert {each.status_code for each in _all(partial(_refresh, client), list(tokens.values())[:20])} == {401}
        assert _refresh(client, revoked).status_code == 401
        assert _all(partial(_name, node.url), sessions.values()) == list(sessions)
        assert set(_all(partial(_name, node.url), list(sessions.values())[:20])) == {None}
        assert client.post("/api/token/", json=password).status_code == 200
    with psycopg.connect(env["DATABASE_URL"]) as database:
        [signed_in] = database.execute(SIGN_INS).fetchone()
        assert signed_in == len(tokens) + len(sessions) + 1


def _environment(old: old_project.OldProject, folder: Path) -> dict[str, str]:
    until = (datetime.now(UTC) + timedelta(days=20)).date().isoformat()
    return {
        "DATABASE_URL": databases.migrated(folder, "moved"),
        "DEBUG": "true",
        "TOKEN_RATE": "",
        "IMPORT_FROM": old.database_url,
        "LEGACY_JWT_KEY": old.secret_key,
        "LEGACY_JWT_UNTIL": until,
        "LEGACY_SESSION_KEY": old.secret_key,
        "LEGACY_SESSION_UNTIL": until,
    }


def _all(work: Callable[[str], Any], items: Iterable[str]) -> list[Any]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(work, items))


def _refresh(client: httpx.Client, token: str) -> httpx.Response:
    return client.post("/api/token/refresh/", json={"refresh": token})


def _name(url: str, session_key: str) -> str | None:
    """The name on the first page with an old session, in a browser of its own."""
    headers = {"Cookie": f"sessionid={session_key}", "Sec-Fetch-Site": "none"}
    request = Request(f"{url}/api/session/", headers=headers)  # noqa: S310
    try:
        with urlopen(request) as response:  # noqa: S310
            return json.load(response)["user"]["username"]
    except HTTPError:
        return None
