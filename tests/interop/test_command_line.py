"""The client for command lines in api/README.md, run unchanged but for its constants."""

import importlib.util
import json
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import servers
from tests.interop.conftest import PASSWORD, Issuer

pytestmark = [pytest.mark.once, pytest.mark.long]

SECTION = (servers.ROOT / "api" / "README.md").read_text().partition("## Mobile apps and command lines\n")[2]
[CODE] = re.findall(r"^```python\n(.*?)^```", SECTION.partition("\n## ")[0], re.DOTALL | re.MULTILINE)
REFRESH = "/api/token/refresh/"


class Network:
    """A proxy between the client and the site, which can lose or replace responses to a refresh."""

    def __init__(self, site: str) -> None:
        self.refreshes = 0
        # For each refresh that comes: None to forward it and lose the response, or a status and a body.
        self.faults: list[tuple[int, bytes] | None] = []
        network = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._forward("GET")

            def do_POST(self) -> None:
                self._forward("POST")

            def _forward(self, method: str) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                network.refreshes += self.path == REFRESH
                fault = network.faults.pop(0) if self.path == REFRESH and network.faults else False
                if fault:
                    self._answer(*fault)
                    return
                names = ("Authorization", "Content-Type")
                headers = {name: self.headers[name] for name in names if name in self.headers}
                answer = httpx.request(method, site + self.path, content=body, headers=headers, trust_env=False)
                if fault is not None:
                    self._answer(answer.status_code, answer.content)

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def network(issuer: Issuer) -> Iterator[Network]:
    network = Network(issuer.url)
    yield network
    network.server.shutdown()
    network.server.server_close()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "config" / "tokens.json"


@pytest.fixture
def module(network: Network, state: Path, tmp_path: Path) -> Path:
    """The file of the document."""
    texts = {
        '"https://www.example.org"': repr(network.url),
        'Path.home() / ".config" / "example" / "tokens.json"': f"Path({str(state)!r})",
    }
    code = CODE
    for old, new in texts.items():
        assert old in code
        code = code.replace(old, new)
    path = tmp_path / "command.py"
    path.write_text(code)
    return path


@pytest.fixture
def command(module: Path) -> Any:
    spec = importlib.util.spec_from_file_location("command", module)
    assert spec
    assert spec.loader
    command = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(command)
    return command


@pytest.fixture
def ann(command: Any, issuer: Issuer) -> str:
    """The name of Ann, who is signed in with the API itself as audience."""
    name = f"ann-{next(issuer.unused_users)}"
    command.sign_in(name, PASSWORD)
    return name


@pytest.fixture
def change_state(state: Path) -> Callable[..., None]:
    def change(**fields: Any) -> None:
        state.write_text(json.dumps(json.loads(state.read_text()) | fields))

    return change


def test_it_signs_in_and_calls(command: Any, ann: str, state: Path, network: Network) -> None:
    assert command.call("/api/me/")["username"] == ann
    assert network.refreshes == 0
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.parent.stat().st_mode) == 0o700


def test_many_processes_refresh_once(
    module: Path, ann: str, change_state: Callable[..., None], network: Network
) -> None:
    change_state(due_at=0)
    code = 'import command; print(command.call("/api/me/")["username"], command.access_token())'
    processes = [
        subprocess.Popen([sys.executable, "-c", code], cwd=module.parent, stdout=subprocess.PIPE, text=True)
        for _each in range(8)
    ]
    outputs = {process.communicate()[0] for process in processes}
    assert network.refreshes == 1
    assert [output.split()[0] for output in outputs] == [ann]


def test_a_clock_that_began_again_causes_a_refresh(
    command: Any, ann: str, change_state: Callable[..., None], network: Network
) -> None:
    change_state(due_at=10**9)
    assert command.call("/api/me/")["username"] == ann
    assert network.refreshes == 1


def test_a_refused_token_is_refreshed_once(
    command: Any, ann: str, change_state: Callable[..., None], network: Network
) -> None:
    change_state(access="none")
    assert command.call("/api/me/")["username"] == ann
    assert network.refreshes == 1


def test_a_lost_response_is_requested_again(
    command: Any, ann: str, change_state: Callable[..., None], network: Network
) -> None:
    change_state(due_at=0)
    network.faults = [None, (200, b"<h1>Sign in to the network</h1>")]
    assert command.call("/api/me/")["username"] == ann
    assert network.refreshes == 3


@pytest.mark.parametrize(
    "fault", [(503, b"{}"), (502, b"<h1>Bad gateway</h1>"), (429, b"{}"), (401, b"<h1>Proxy</h1>")]
)
def test_an_error_is_not_signed_out(
    command: Any, ann: str, change_state: Callable[..., None], network: Network, fault: tuple[int, bytes]
) -> None:
    change_state(due_at=0)
    network.faults = [fault] * 3
    with pytest.raises(OSError, match=r"HTTP Error|no response"):
        command.call("/api/me/")
    network.faults = []
    assert command.call("/api/me/")["username"] == ann


def test_an_ended_sign_in_removes_the_tokens(
    command: Any, ann: str, change_state: Callable[..., None], network: Network, state: Path
) -> None:
    command.send("/api/token/blacklist/", {"refresh": json.loads(state.read_text())["refresh"]})
    with pytest.raises(command.SignedOut):
        command.call("/api/me/")
    assert not state.exists()
    with pytest.raises(command.SignedOut):
        command.call("/api/me/")
