"""Bound tokens (DPoP) with clients of other vendors."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests import servers
from tests.interop.conftest import PASSWORD, Issuer

pytestmark = [pytest.mark.once, pytest.mark.long]

HERE = Path(__file__).parent


@pytest.fixture
def ann(issuer: Issuer) -> str:
    """The username of Ann."""
    name = f"ann-{uuid4().hex[:8]}"
    person = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    code = f"from accounts.models import User; User.objects.create_user(**{person})"
    servers.manage(issuer.env, "shell", "--verbosity=0", "--command", code)
    return name


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519"])
def test_dpop_and_oauth4webapi_sign_in_refresh_and_call(javascript: Any, ann: str, algorithm: str) -> None:
    script = javascript((HERE / "dpop.mjs").read_text())
    assert script.ask(json.dumps({"algorithm": algorithm, "username": ann, "password": PASSWORD})) == ann


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_the_readmes_requests_oauth2client_example_runs(
    issuer: Issuer, ann: str, algorithm: str, tmp_path: Path
) -> None:
    section = (servers.ROOT / "api" / "README.md").read_text().partition("### Bound tokens")[2]
    block = re.search(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert block
    told = {"https://www.example.org": issuer.url, '"alice"': f'"{ann}"', '"ES256"': f'"{algorithm}"'}
    code = block[1]
    for old, new in told.items():
        assert old in code
        code = code.replace(old, new)
    (tmp_path / "client.py").write_text(code)
    run = subprocess.run([sys.executable, tmp_path / "client.py"], capture_output=True, text=True)
    assert ast.literal_eval(run.stdout)["username"] == ann, run.stderr
