"""A typed client, generated from the schema by a public tool."""

import importlib
import json
import os
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

PASSWORD = "violet anchor hums at dawn"
PACKAGE = "generated_client"


@pytest.fixture
def generated(fleet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the generated package."""
    document = tmp_path / "openapi.json"
    document.write_bytes(httpx.get(f"{fleet.url}/api/schema/", timeout=30, trust_env=False).content)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"content_type_overrides": {"application/statuslist+jwt": "text/plain"}}))
    # It calls ruff, which is beside our Python.
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    made = subprocess.run(
        [
            sys.executable,
            "-m",
            "openapi_python_client",
            "generate",
            "--meta=none",
            "--fail-on-warning",
            f"--config={config}",
            f"--path={document}",
            f"--output-path={tmp_path / PACKAGE}",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PATH": programs},
    )
    assert made.returncode == 0, made.stdout
    monkeypatch.syspath_prepend(tmp_path)
    return lambda name: importlib.import_module(f"{PACKAGE}.{name}")


@pytest.mark.once
@pytest.mark.long
def test_a_generated_client_signs_in_calls_refreshes_and_revokes(generated: Any, fleet: Any) -> None:
    models = generated("models")
    client = generated("client").Client(fleet.url, httpx_args={"trust_env": False})

    def call(module: str, client: Any = client, **arguments: Any) -> Any:
        return generated(f"api.{module}").sync_detailed(client=client, **arguments)

    def me(pair: Any) -> Any:
        signed_in = generated("client").AuthenticatedClient(fleet.url, pair.access, httpx_args={"trust_env": False})
        return call("me.me", signed_in)

    name = f"u{uuid4().hex[:12]}"
    person = models.RegistrationRequest(username=name, email=f"{name}@example.org", password=PASSWORD)
    assert call("register.register", body=person).parsed.username == name

    pair = call("token.sign_in", body=models.TokenPairRequest(username=name, password=PASSWORD)).parsed
    assert me(pair).parsed.email == f"{name}@example.org"

    pair = call("token.refresh", body=models.TokenRefreshRequest(refresh=pair.refresh)).parsed
    assert me(pair).parsed.username == name

    assert call("token.revoke", body=models.TokenFormRequest(token=pair.refresh)).status_code == HTTPStatus.OK
    refused = me(pair)
    assert (refused.status_code, refused.parsed.code) == (HTTPStatus.UNAUTHORIZED, "sign_in_ended")
