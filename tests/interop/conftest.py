import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from requests_oauth2client import DPoPKey

from tests import databases, servers
from tests.plugins import nodejs

AUDIENCE = "reports"
PASSWORD = "violet anchor hums at dawn"
# In one command, since each command takes a second. All users share one salt.
USERS = 100
MAKE_USERS = f"""
from django.contrib.auth.hashers import make_password
from accounts.models import User
names, password = [f"ann-{{number}}" for number in range({USERS})], make_password({PASSWORD!r})
User.objects.bulk_create(User(username=name, email=f"{{name}}@example.org", password=password) for name in names)
"""


class Issuer(servers.Node):
    """The project with public keys and a status list."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        super().__init__(folder, env, workers=2, args=["--threads=4"])
        self.env = env | {"JWT_ISSUER": self.url}
        self.unused_users = iter(range(USERS))
        self.options["env"] = os.environ | self.env

    def keys(self, *step: str) -> str:
        """Runs a step of `manage.py keys` and returns the kid."""
        return servers.manage(self.env, "keys", *step).split()[0]

    def rotate(self) -> str:
        """Makes a new key sign; returns the kid of the previous one."""
        signed = re.search(r"^(\S+)\s+\S+\s+signing", servers.manage(self.env, "keys"), re.MULTILINE)
        assert signed
        self.keys("promote", self.keys("new"), "--force")
        return signed[1]

    def sign_in(self, key: DPoPKey | None = None) -> "Tokens":
        """Signs a new user in and returns the tokens, bound to the key if there is one."""
        name, url, nonce = f"ann-{next(self.unused_users)}", f"{self.url}/api/token/", None
        for _attempt in range(2):
            answer = httpx.post(
                url,
                json={"username": name, "password": PASSWORD, "audience": AUDIENCE},
                headers={"DPoP": str(key.proof("POST", url, nonce=nonce))} if key else None,
                timeout=30,
                trust_env=False,
            )
            nonce = answer.headers.get("DPoP-Nonce")
            if answer.status_code != 400 or not nonce:
                break
        assert answer.status_code == 200, answer.text
        pair = answer.json()
        return Tokens(pair["access"], pair["refresh"])

    def sign_out(self, tokens: "Tokens") -> None:
        answer = httpx.post(
            f"{self.url}/api/token/blacklist/", json={"refresh": tokens.refresh}, timeout=30, trust_env=False
        )
        assert answer.status_code == 200, answer.text


@dataclass(frozen=True)
class Tokens:
    access: str
    refresh: str


@pytest.fixture(scope="package")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    folder = tmp_path_factory.mktemp("issuer")
    issuer = Issuer(
        folder,
        {
            "DATABASE_URL": databases.migrated(folder, "issuer"),
            # DEBUG allows plain HTTP on loopback.
            "DEBUG": "true",
            "DEVICE_FLOW": "true",
            "JWT_KEYS": str(folder / "keys"),
            "JWT_STATUS_LIST": "true",
            "JWT_AUDIENCES": AUDIENCE,
        },
    )
    servers.manage(issuer.env, "shell", "--verbosity=0", "--command", MAKE_USERS)
    issuer.keys("promote", issuer.keys("new"), "--force")
    issuer.start()
    try:
        yield issuer
    finally:
        issuer.stop()


class Script:
    """A JavaScript program that answers each line with a line, and keeps its state between them."""

    def __init__(self, path: Path, **env: str) -> None:
        self.process = subprocess.Popen(
            ["node", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | env
        )

    def ask(self, line: str) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def stop(self) -> None:
        self.process.communicate()


@pytest.fixture
def javascript(issuer: Issuer, tmp_path: Path) -> Iterator[Any]:
    """Returns a function that starts a script with the pinned packages."""
    (tmp_path / "node_modules").symlink_to(nodejs.require_packages())
    started = []

    def start(code: str, **env: str) -> Script:
        path = tmp_path / f"script{len(started)}.mjs"
        path.write_text(code)
        started.append(Script(path, ISSUER=issuer.url, AUDIENCE=AUDIENCE, **env))
        return started[-1]

    yield start
    for script in started:
        script.stop()
