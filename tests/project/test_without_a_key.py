"""Commands of a developer without a secret key at hand."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests import servers

pytestmark = [pytest.mark.once, pytest.mark.long]


def manage(*command: str, **env: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "ENV_FILE": ""} | env
    return subprocess.run(
        [sys.executable, "manage.py", *command], cwd=servers.ROOT, env=environment, capture_output=True, text=True
    )


def test_migrations_can_be_made() -> None:
    made = manage("makemigrations", "--check", "--dry-run", DATABASE_URL="sqlite:///:memory:")
    assert made.returncode == 0, made.stdout + made.stderr


def test_a_superuser_can_be_created(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    url = f"sqlite:///{database}"
    assert manage("migrate", "--verbosity=0", DATABASE_URL=url, DEBUG="true").returncode == 0
    password = {"DJANGO_SUPERUSER_PASSWORD": "violet anchor hums at dawn"}
    options = ("--no-input", "--username=sue", "--email=sue@example.org")
    made = manage("createsuperuser", *options, DATABASE_URL=url, **password)
    assert made.returncode == 0, made.stdout + made.stderr
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT username FROM accounts_user WHERE is_superuser").fetchall() == [("sue",)]


@pytest.mark.parametrize("command", ["migrate", "runserver", "check"])
def test_other_commands_name_what_is_missing(command: str) -> None:
    refused = manage(command, DATABASE_URL="sqlite:///:memory:")
    assert refused.returncode != 0
    assert "SECRET_KEY must be set" in refused.stderr
    assert "DEBUG=true" in refused.stderr
    assert "Traceback" not in refused.stderr
