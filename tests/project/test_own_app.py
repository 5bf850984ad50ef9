"""The app of "Build your product on it" in README.md, created from its text in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import servers

pytestmark = [pytest.mark.once, pytest.mark.long, pytest.mark.timeout(300)]

SECTION = (servers.ROOT / "README.md").read_text().partition("## Build your product on it\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)
NOT_COPIED = shutil.ignore_patterns(".git", "var", ".venv", ".*_cache", "__pycache__", "node_modules", "pictures")
PYTHON = ".venv/bin/python"


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def files() -> dict[str, str]:
    """Returns the text of each file by the path in its first line."""
    texts = [*blocks("python"), *blocks("html")]
    return {re.match(r"(?:#|\{#) (\S+)", text)[1]: text for text in texts}  # type: ignore[index]


def add_lines(folder: Path) -> None:
    """Adds each line with a plus below the line above it, in the one file that has that line."""
    [diff] = blocks("diff")
    above = ""
    for line in diff.splitlines():
        sign, text = line[0], line[1:]
        if sign == "+":
            [path] = [path for path in (folder / "project").glob("*.py") if f"{above}\n" in path.read_text()]
            path.write_text(path.read_text().replace(f"{above}\n", f"{above}\n{text}\n", 1))
        above = text


def env_of_new_user() -> dict[str, str]:
    ours = ("PYTEST_", "SECRET_KEY", "DEBUG", "ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL", "EMAIL_URL", "DJANGO_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {"WEB_CONCURRENCY": "1"}


def run(folder: Path, command: str, **env: str) -> None:
    made = subprocess.run(
        ["sh", "-c", command.replace(PYTHON, sys.executable)],
        cwd=folder,
        env=env_of_new_user() | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert made.returncode == 0, f"{command}\n{made.stdout}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the app, created as described in the README."""
    folder = tmp_path_factory.mktemp("own_app") / "project"
    shutil.copytree(servers.ROOT, folder, ignore=NOT_COPIED)
    # As if there were no product.
    shutil.rmtree(folder / "product", ignore_errors=True)
    first, last = blocks("sh")
    run(folder, first)
    for path, text in files().items():
        (folder / path).write_text(text)
    add_lines(folder)
    install, migrate, start = last.splitlines()
    assert install == ".venv/bin/pip install -r tests/requirements.txt"
    run(folder, migrate)
    test, started = start.split(" && ")
    run(folder, test)
    assert started == f"{PYTHON} manage.py start"
    return folder


class Started(servers.Server):
    """`manage.py start`, running in the copy."""

    def __init__(self, folder: Path, log: Path) -> None:
        port = servers.free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "manage.py", "start", "--port", str(port)]
        super().__init__(log, command, cwd=folder, env=env_of_new_user())

    def answers(self) -> bool:
        return servers.answers_live(self.url)


@pytest.fixture(scope="module")
def site(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    with servers.running(Started(project, tmp_path_factory.mktemp("log"))) as server:
        yield server


@pytest.fixture
def alice(site: Started) -> dict[str, str]:
    """The name and password that `start` printed."""
    found = re.search(r"^ +alice +(\S+)", site.log, re.MULTILINE)
    assert found, site.log
    return {"username": "alice", "password": found[1]}


def test_page_and_endpoint_share_notes(site: Started, alice: dict[str, str]) -> None:
    with httpx.Client(base_url=site.url, timeout=30, trust_env=False) as browser:
        page = browser.get("/accounts/login/?next=/notes/").text
        assert browser.post("/accounts/login/", data=alice | csrf(page)).status_code == 302
        page = browser.get("/notes/").text
        assert browser.post("/notes/", data={"text": "Buy milk"} | csrf(page)).status_code == 302
        access = browser.post("/api/token/", json=alice).json()["access"]
    bearer = {"Authorization": f"Bearer {access}"}
    with httpx.Client(base_url=site.url, timeout=30, trust_env=False, headers=bearer) as client:
        assert [note["text"] for note in client.get("/api/notes/").json()["results"]] == ["Buy milk"]
        assert client.post("/api/notes/", json={"text": "Call Bob"}).status_code == 201
        assert "/api/notes/" in client.get("/api/schema/").json()["paths"]
        assert client.post("/api/sign-ins/end-all/").status_code == 200
        assert client.get("/api/notes/").status_code == 401


def csrf(page: str) -> dict[str, str]:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert found, page
    return {"csrfmiddlewaretoken": found[1]}


def test_notes_require_a_session_or_a_token(site: Started) -> None:
    with httpx.Client(base_url=site.url, timeout=30, trust_env=False) as visitor:
        assert visitor.get("/notes/").headers["Location"] == "/accounts/login/?next=/notes/"
        assert visitor.get("/api/notes/").status_code == 401


def test_the_app_passes_the_checks_of_the_project(project: Path) -> None:
    run(project, f"{PYTHON} -m ruff check notes tests/notes")
    run(project, f"{PYTHON} manage.py makemigrations --check --dry-run", DEBUG="true")
    run(project, f"{PYTHON} manage.py spectacular --validate --fail-on-warn --file schema.yml", DEBUG="true")


@pytest.mark.named
def test_the_tests_of_the_project_accept_the_app(project: Path) -> None:
    """Runs the tests that read every address, every endpoint or the sources."""
    names = ("test_schema.py", "test_places.py", "test_urls.py", "test_translations.py", "test_csrf.py")
    paths = [path for name in names for path in (project / "tests").rglob(name)]
    assert len(paths) >= 4
    run(project, f"{PYTHON} -m pytest -q {' '.join(map(str, paths))}")
