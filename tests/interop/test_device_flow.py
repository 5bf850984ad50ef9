"""The device flow with OAuth clients of other vendors, and the commands of api/README.md for it and for API keys."""

import json
import re
import subprocess
from typing import Any

import httpx
import pytest
from authlib.integrations.httpx_client import OAuth2Client as Authlib
from requests_oauth2client import (
    AccessDenied,
    AuthorizationPending,
    DPoPToken,
    OAuth2Client,
    PublicApp,
)

from tests import servers
from tests.interop.conftest import PASSWORD, Issuer

pytestmark = [pytest.mark.once, pytest.mark.long]

SITE = "http://127.0.0.1:8000"
TEXT = (servers.ROOT / "api" / "README.md").read_text()
GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class Person:
    """A user in a browser."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer, self.name = issuer, f"ann-{next(issuer.unused_users)}"
        self.browser = httpx.Client(base_url=issuer.url, timeout=30, trust_env=False, follow_redirects=True)
        self.post("/accounts/login/", username=self.name, password=PASSWORD)

    def post(self, path: str, **form: str) -> str:
        page = self.browser.get(path)
        [token, *_others] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        answer = self.browser.post(
            path, data={"csrfmiddlewaretoken": token, **form}, headers={"Origin": self.issuer.url}
        )
        assert answer.status_code == 200, answer.text
        return answer.text

    def decide(self, user_code: str, decision: str = "allow") -> None:
        assert "backup" in self.post("/accounts/device/", user_code=user_code)
        self.post("/accounts/device/", user_code=user_code, decision=decision, name="backup")

    def is_owner_of(self, access: str) -> bool:
        headers = {"Authorization": f"Bearer {access}"}
        answer = httpx.get(f"{self.issuer.url}/api/me/", headers=headers, timeout=30, trust_env=False)
        return bool(answer.json().get("username") == self.name)


@pytest.fixture
def ann(issuer: Issuer) -> Person:
    return Person(issuer)


def client_of(issuer: Issuer) -> OAuth2Client:
    return OAuth2Client(
        token_endpoint=f"{issuer.url}/api/device/token/",
        device_authorization_endpoint=f"{issuer.url}/api/device/code/",
        auth=PublicApp("backup"),
        testing=True,
    )


def test_requests_oauth2client_signs_a_device_in_and_refreshes(issuer: Issuer, ann: Person) -> None:
    client = client_of(issuer)
    codes = client.authorize_device()
    with pytest.raises(AuthorizationPending):
        client.device_code(codes)
    ann.decide(codes.user_code)
    token = client.device_code(codes)
    assert ann.is_owner_of(token.access_token)
    assert ann.is_owner_of(client.refresh_token(token).access_token)


def test_requests_oauth2client_learns_of_a_refusal(issuer: Issuer, ann: Person) -> None:
    client = client_of(issuer)
    codes = client.authorize_device()
    ann.decide(codes.user_code, "deny")
    with pytest.raises(AccessDenied):
        client.device_code(codes)


def test_requests_oauth2client_binds_the_tokens_of_a_device(issuer: Issuer, ann: Person) -> None:
    client = client_of(issuer)
    codes = client.authorize_device()
    ann.decide(codes.user_code)
    token = client.device_code(codes, dpop=True)
    assert isinstance(token, DPoPToken)
    assert not ann.is_owner_of(token.access_token)


def test_authlib_signs_a_device_in(issuer: Issuer, ann: Person) -> None:
    codes = httpx.post(
        f"{issuer.url}/api/device/code/", data={"client_id": "backup"}, timeout=30, trust_env=False
    ).json()
    ann.decide(codes["user_code"])
    with Authlib("backup", token_endpoint_auth_method="none", trust_env=False) as client:
        token = client.fetch_token(
            f"{issuer.url}/api/device/token/", grant_type=GRANT, device_code=codes["device_code"]
        )
        assert ann.is_owner_of(token["access_token"])


# The commands of the document


def commands(section: str) -> list[str]:
    text = re.split(r"\n##+ ", TEXT.partition(f"### {section}\n")[2])[0]
    return re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run(issuer: Issuer, command: str, **variables: str) -> Any:
    command = re.sub(r"^(KEY|DEVICE_CODE)=.*$", "", command, flags=re.MULTILINE).replace(SITE, issuer.url)
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", **variables}
    return json.loads(subprocess.check_output(["sh", "-c", command], env=env, text=True, stderr=subprocess.DEVNULL))


def test_the_commands_of_the_document_sign_a_device_in(issuer: Issuer, ann: Person) -> None:
    ask, poll = commands("Device flow")
    codes = run(issuer, ask)
    assert codes.keys() == {"device_code", "user_code", "verification_uri", "expires_in", "interval"}
    assert run(issuer, poll, DEVICE_CODE=codes["device_code"])["error"] == "authorization_pending"
    ann.decide(codes["user_code"])
    assert ann.is_owner_of(run(issuer, poll, DEVICE_CODE=codes["device_code"])["access_token"])


def test_the_commands_of_the_document_make_use_and_revoke_a_key(issuer: Issuer, ann: Person) -> None:
    make, use, revoke = commands("API keys")
    body = {"username": ann.name, "password": PASSWORD}
    access = httpx.post(f"{issuer.url}/api/token/", json=body, timeout=30, trust_env=False).json()["access"]
    key = run(issuer, make, ACCESS=access)["key"]
    assert run(issuer, use, KEY=key)["username"] == ann.name
    assert run(issuer, revoke, KEY=key) == {}
    assert run(issuer, use, KEY=key)["code"] == "api_key_not_valid"


def test_the_document_recognises_a_key(issuer: Issuer, ann: Person) -> None:
    section = re.split(r"\n##+ ", TEXT.partition("### API keys\n")[2])[0]
    [code] = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    body = {"username": ann.name, "password": PASSWORD}
    access = httpx.post(f"{issuer.url}/api/token/", json=body, timeout=30, trust_env=False).json()["access"]
    key = run(issuer, commands("API keys")[0], ACCESS=access)["key"]
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102
    assert names["is_key"](key)
    assert not names["is_key"](key[:-1] + ("a" if key[-1] != "a" else "b"))
