"""Requirements of a server, checked at its start. Commands do not need them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import override_settings

from project import static_files
from tests import servers
from tests.conftest import Browser

pytestmark = [pytest.mark.once, pytest.mark.long]

STYLE = "accounts/site.css"


def begin(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a command outside DEBUG, with the storage of static files of the project."""
    env = {"DATABASE_URL": "sqlite:///:memory:", "DJANGO_SETTINGS_MODULE": "project.settings"} | env
    return subprocess.run(
        [sys.executable, *command], cwd=servers.ROOT, env=os.environ | env, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("server", ["project.wsgi", "project.asgi"])
def test_a_server_without_static_files_does_not_start(tmp_path: Path, server: str) -> None:
    # VAR_DIR, which contains STATIC_ROOT, is in the folder of the code. A settings module moves it.
    code = (
        "from django.conf import settings; import django; django.setup()\n"
        f"settings.STATIC_ROOT = {str(tmp_path)!r}\nimport {server}"
    )
    made = begin("-c", code)
    assert made.returncode == 1
    assert made.stderr.splitlines()[-1].endswith("Run: python manage.py collectstatic --no-input")


def test_a_server_without_hosts_does_not_start() -> None:
    made = begin("-c", "import project.wsgi", ALLOWED_HOSTS="", DJANGO_SETTINGS_MODULE="tests.chaos.settings")
    assert made.returncode == 1
    assert "ALLOWED_HOSTS is not set" in made.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_server_whose_database_file_is_read_only_does_not_start(tmp_path: Path) -> None:
    file = tmp_path / "db.sqlite3"
    file.touch(0o400)
    made = begin(
        "-c",
        "import project.wsgi",
        DATABASE_URL=f"sqlite:///{file}",
        DJANGO_SETTINGS_MODULE="tests.chaos.settings",
    )
    assert made.returncode == 1
    assert str(file) in made.stderr.splitlines()[-1]


def test_a_command_needs_neither_hosts_nor_static_files() -> None:
    assert begin("manage.py", "check", ALLOWED_HOSTS="").returncode == 0


def test_a_worker_that_starts_while_files_are_collected_finds_them(tmp_path: Path) -> None:
    storages = {"staticfiles": {"BACKEND": "project.static_files.Storage"}}
    with override_settings(STATIC_ROOT=tmp_path, STORAGES=storages):
        call_command("collectstatic", interactive=False, verbosity=0)
        needed = {tmp_path / each for each in static_files.staticfiles_storage.hashed_files.values()}
        deleted: set[Path] = set()
        sys.addaudithook(lambda event, about: deleted.add(Path(about[0])) if event == "os.remove" else None)
        call_command("collectstatic", interactive=False, verbosity=0)
    assert deleted & (needed | {tmp_path / "staticfiles.json"}) == set()
    assert list(tmp_path.rglob("*.new")) == []


# Pages without collected files


@pytest.fixture
def collected(tmp_path: Path):
    """The storage of the project with all files except the stylesheet."""
    storages = {"staticfiles": {"BACKEND": "project.static_files.Storage"}}
    with override_settings(STATIC_ROOT=tmp_path, STORAGES=storages):
        call_command("collectstatic", interactive=False, verbosity=0)
        static_files.staticfiles_storage.hashed_files.pop(STYLE)
        static_files.log_missing.cache_clear()
        yield


def test_an_uncollected_file_is_reported_with_the_command(collected: None) -> None:
    problem = static_files.problem()
    assert problem is not None
    assert STYLE in problem
    assert static_files.COMMAND in problem
    static_files.staticfiles_storage.hashed_files[STYLE] = "accounts/site.1.css"
    assert static_files.problem() is None


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "status"), [("/accounts/login/", 200), ("/nowhere/", 404)])
def test_a_page_works_without_its_stylesheet(
    collected: None, caplog: pytest.LogCaptureFixture, path: str, status: int
) -> None:
    for _ in range(2):
        answer = Browser().get(path)
        assert answer.status_code == status
        assert f'href="/static/{STYLE}"' in answer.content.decode()
    assert [each for each in caplog.messages if STYLE in each] == [
        f"The static file {STYLE} was not collected. Run: {static_files.COMMAND}"
    ]


# Uploaded files


@pytest.mark.django_db
def test_a_large_file_is_refused_without_a_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.NamedTemporaryFile", None)
    head = '--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    body = f"{head}{'a' * 3_000_000}\r\n--x--\r\n"
    answer = Browser().generic("POST", "/accounts/login/", body, "multipart/form-data; boundary=x")
    assert answer.status_code == 413


# Permissions of the database file


@pytest.mark.parametrize("mode_before", [None, 0o644, 0o660])
def test_only_the_owner_can_read_a_sqlite_database(tmp_path: Path, mode_before: int | None) -> None:
    file = tmp_path / "db.sqlite3"
    if mode_before is not None:
        file.touch()
        file.chmod(mode_before)
    code = (
        "import django; django.setup()\nfrom django.db import connection\nfrom pathlib import Path\n"
        "connection.cursor().execute('CREATE TABLE kept (id INTEGER)')\n"
        f"print(*sorted(oct(each.stat().st_mode & 0o777) for each in Path({str(tmp_path)!r}).iterdir()))"
    )
    made = begin("-c", code, DATABASE_URL=f"sqlite:///{file}")
    assert made.returncode == 0, made.stderr
    assert set(made.stdout.split()) == {"0o600"}
