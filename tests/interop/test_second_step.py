"""The curl commands of api/README.md for the second step, run unchanged with the codes of another project's library."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests import servers
from tests.conftest import Fleet

pytestmark = [pytest.mark.once, pytest.mark.long]

PASSWORD = "violet anchor hums at dawn"
SITE = "http://127.0.0.1:8000"
TEXT = (servers.ROOT / "api" / "README.md").read_text()


def commands(section: str) -> list[str]:
    """Returns the shell blocks of a section."""
    text = TEXT.partition(f"### {section}\n")[2].partition("\n### ")[0]
    return re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


class Person:
    """A user with an authenticator app, in a shell that has oathtool."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.fleet, self.folder = fleet, folder
        self.name = f"ann-{uuid4().hex[:8]}"
        person = {"username": self.name, "email": f"{self.name}@example.org", "password": PASSWORD}
        fleet.shell(f"from accounts.models import User; User.objects.create_user(**{person})")
        self.access = self.post("/api/token/", username=self.name, password=PASSWORD)["access"]
        app = self.post("/api/factors/totp/")
        self.secret = app["secret"]
        (folder / "oathtool").write_text(
            f"#!{sys.executable}\nimport sys, pyotp\nprint(pyotp.TOTP(sys.argv[3]).now())\n"
        )
        (folder / "oathtool").chmod(0o755)
        code = subprocess.check_output([folder / "oathtool", "--totp", "--base32", self.secret], text=True).strip()
        self.post("/api/factors/totp/confirm/", id=app["id"], code=code)

    def post(self, path: str, **data: str) -> Any:
        headers = {"Authorization": f"Bearer {self.access}"} if hasattr(self, "access") else {}
        response = httpx.post(f"{self.fleet.url}{path}", json=data, headers=headers, timeout=30, trust_env=False)
        assert response.status_code < 300, response.text
        return response.json()

    def run(self, command: str, **variables: str) -> str:
        """Runs a block of the document with these variables. The current code counts as unused."""
        self.fleet.shell(
            "from accounts.models import AuthenticatorApp; AuthenticatorApp.objects.update(last_used_step=0)"
        )
        command = re.sub(r"^(STEP)=.*$", "", command, flags=re.MULTILINE)
        command = command.replace(SITE, self.fleet.url).replace("alice", self.name).replace("PASSWORD", PASSWORD)
        env = {"PATH": f"{self.folder}:/usr/local/bin:/usr/bin:/bin", "SECRET": self.secret, **variables}
        return subprocess.check_output(["sh", "-c", command], env=env, text=True, stderr=subprocess.DEVNULL)


@pytest.fixture
def person(fleet: Fleet, tmp_path: Path) -> Person:
    return Person(fleet, tmp_path)


def test_the_two_requests_of_the_document_sign_in(person: Person) -> None:
    first, second, _together = commands("Second step")
    step = json.loads(person.run(first))
    assert (step["code"], step["methods"]) == ("second_step_required", ["totp", "recovery_code"])
    assert {"access", "refresh"} <= json.loads(person.run(second, STEP=step["step"])).keys()


def test_the_one_request_of_the_document_signs_in(person: Person) -> None:
    _first, _second, together = commands("Second step")
    assert {"access", "refresh"} <= json.loads(person.run(together)).keys()


def test_the_proof_of_the_document_is_accepted(person: Person) -> None:
    [command] = commands("Recent authentication")
    assert person.run(command, ACCESS=person.access).startswith("HTTP/1.1 204")
