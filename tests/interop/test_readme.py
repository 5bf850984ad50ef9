"""The code for other services in api/README.md, run unchanged."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from requests_oauth2client import DPoPKey

from tests import servers
from tests.interop.conftest import AUDIENCE, Issuer

pytestmark = [pytest.mark.once, pytest.mark.long]

HERE = Path(__file__).parent
SECTION = "## Trust our tokens from your service"
# The `ttl` of the status list, with a tolerance for building the list and for a slow machine.
TTL, A_MOMENT = 10, 5
ASK = """
import { createInterface } from 'node:readline'
for await (const token of createInterface({ input: process.stdin })) {
  console.log(await claimsOf(token).then(claims => `The reports of ${claims.sub}`, () => 'refused'))
}
"""


def block(language: str) -> str:
    section = (servers.ROOT / "api" / "README.md").read_text().partition(SECTION)[2].partition("\n## ")[0]
    found = re.search(rf"^```{language}\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert found, f"api/README.md has no {language} in {SECTION!r}"
    return found[1]


class Service(servers.Server):
    def __init__(self, folder: Path, issuer: Issuer) -> None:
        self.port = servers.free_port()
        (folder / "trust.py").write_text(block("python"))
        env = {"ISSUER": issuer.url, "AUDIENCE": AUDIENCE, "PYTHONPATH": str(folder), "NO_PROXY": "127.0.0.1"}
        super().__init__(folder, [sys.executable, HERE / "service.py", str(self.port)], env=env)

    def ask(self, token: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        url = f"http://127.0.0.1:{self.port}/"
        return httpx.get(url, headers=headers, timeout=10, trust_env=False, verify=servers.AUTHORITIES)

    def stop(self) -> None:
        # A process whose parent ignores SIGINT, as one in the background does, ignores it, too.
        self.kill()

    def answers(self) -> bool:
        try:
            return self.ask("none").status_code == 401
        except httpx.TransportError:
            return False


@pytest.fixture
def python(issuer: Issuer, tmp_path: Path) -> Iterator[Callable[[str], bool]]:
    service = Service(tmp_path, issuer)
    service.start()
    try:
        yield lambda token: service.ask(token).status_code == 200
    finally:
        service.stop()


@pytest.fixture
def in_javascript(javascript: Any) -> Callable[[str], bool]:
    script = javascript(block("js") + ASK)
    return lambda token: script.ask(token).startswith("The reports of")


@pytest.fixture(params=["python", "in_javascript"])
def accepts(request: pytest.FixtureRequest) -> Callable[[str], bool]:
    """Whether the other service accepts a token."""
    return request.getfixturevalue(request.param)


def test_a_service_refuses_a_revoked_token_within_the_ttl(accepts: Callable[[str], bool], issuer: Issuer) -> None:
    tokens, other = issuer.sign_in(), issuer.sign_in()
    assert accepts(tokens.access)
    issuer.sign_out(tokens)
    signed_out_at = time.monotonic()
    while accepts(tokens.access):
        assert time.monotonic() - signed_out_at < TTL + A_MOMENT
        time.sleep(0.1)
    assert accepts(other.access)


def test_a_service_refuses_tokens_that_are_not_for_it(accepts: Callable[[str], bool], issuer: Issuer) -> None:
    tokens = issuer.sign_in()
    header, claims, signature = tokens.access.split(".")
    of_another = issuer.sign_in().access.split(".")
    assert accepts(tokens.access)
    for token in ("none", "x.y.z", tokens.refresh, f"{header}.{of_another[1]}.{signature}", f"{header}.{claims}."):
        assert not accepts(token)


def test_a_service_refuses_a_bound_token_sent_without_a_proof(accepts: Callable[[str], bool], issuer: Issuer) -> None:
    bound, bearer = issuer.sign_in(DPoPKey.generate(alg="ES256")), issuer.sign_in()
    assert "cnf" in jwt.decode(bound.access, options={"verify_signature": False})
    assert not accepts(bound.access)
    assert accepts(bearer.access)


def test_the_readme_states_that_this_is_not_an_oauth_server() -> None:
    section = (servers.ROOT / "api" / "README.md").read_text().partition(SECTION)[2]
    assert "first-party sign-in and not an OAuth authorization server" in " ".join(section.split())
