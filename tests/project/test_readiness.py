"""What /health/ready knows beside the stores: migrations that were taken back, static files, keys."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db.migrations.recorder import MigrationRecorder

from api import outages
from api.keys import keyring, rotation
from api.keys.ring import Keyring
from project import health, static_files
from tests.conftest import Browser

pytestmark = pytest.mark.django_db


def ready() -> tuple[int, dict[str, str]]:
    answer = Browser().get("/health/ready")
    return answer.status_code, answer.json()


# Migrations


def test_migrations_that_are_taken_back_are_missed_a_minute_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outages, "migrations", outages.AppliedMigrations())
    monkeypatch.setattr(health.migrations_log, "_next", {})
    assert ready()[0] == 200
    last = MigrationRecorder.Migration.objects.filter(app="accounts").latest("pk")
    last.delete()
    assert ready()[0] == 200
    now = outages.time.monotonic()
    monkeypatch.setattr(outages.time, "monotonic", lambda: now + outages.MIGRATIONS_FRESH_SECONDS + 1)
    for _ in range(3):
        code, state = ready()
        assert (code, state["status"], state["database"]) == (503, "down", "not migrated")
    last.save(force_insert=True)
    assert ready()[0] == 200
    missing, complete = [each for each in caplog.messages if "migrations" in each]
    assert missing.endswith(f"accounts.{last.name}. Run: python manage.py migrate")
    assert complete == "The database has all migrations of this code now"


# Static files


@pytest.fixture
def collected(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of collected files, in which a probe looks each time."""
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {"staticfiles": {"BACKEND": "project.static_files.Storage"}}
    call_command("collectstatic", interactive=False, verbosity=0)
    monkeypatch.setattr(static_files, "collected_files", static_files.CollectedFiles())
    monkeypatch.setattr(static_files, "FRESH_SECONDS", 0)
    return tmp_path


@pytest.mark.long
def test_a_node_without_its_static_files_is_not_ready(
    collected: Path, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    assert ready()[0] == 200
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "static"
    collected.rename(elsewhere)
    for _ in range(3):
        code, state = ready()
        assert (code, state["status"], state["static_files"]) == (503, "down", "missing")
    elsewhere.rename(collected)
    assert ready()[0] == 200
    [missing, there] = [each for each in caplog.messages if "tatic file" in each]
    assert missing.endswith(f"Run: {static_files.COMMAND}")
    assert there == "No static file is missing"


@pytest.mark.long
def test_a_node_whose_manifest_is_gone_is_not_ready(collected: Path) -> None:
    (collected / "staticfiles.json").unlink()
    assert ready()[1]["static_files"] == "missing"


@pytest.mark.long
def test_files_of_a_newer_release_beside_its_own_leave_it_ready(collected: Path) -> None:
    (collected / "accounts" / "site.0123456789ab.css").touch()
    (collected / "staticfiles.json").write_text('{"paths": {}, "version": "1.1", "hash": ""}')
    assert ready()[0] == 200


@pytest.mark.long
def test_static_files_are_not_looked_for_with_each_probe(collected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_files, "FRESH_SECONDS", 10)
    assert ready()[0] == 200
    (collected / "staticfiles.json").unlink()
    assert ready()[0] == 200


@pytest.mark.long
def test_a_deleted_file_is_404_and_logged_once(collected: Path, caplog: pytest.LogCaptureFixture) -> None:
    static_files.log_missing.cache_clear()
    browser = Browser()
    url = static_files.staticfiles_storage.url("accounts/site.css")
    assert browser.get(url).status_code == 200
    for file in (collected / "accounts").glob("site.*"):
        file.unlink()
    for _ in range(3):
        assert browser.get(url).status_code == 404
    [line] = [each for each in caplog.messages if "was not collected" in each]
    assert url.removeprefix("/static/") in line


# Keys


@pytest.fixture
def keys(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder with the key that signs, which is read again with each probe."""
    monkeypatch.setattr("api.keys.ring.POLL_SECONDS", 0)
    make = rotation.Rotation(str(tmp_path / "keys"))
    make.promote(make.publish("ES256"), force=True)
    settings.JWT_KEYS = str(make.folder.path)
    keyring.load()
    yield make.folder.path
    del settings.JWT_KEYS


def without_the_folder(folder: Path) -> None:
    shutil.move(folder, folder.with_name("elsewhere"))


def without_a_private_key(folder: Path) -> None:
    [file] = folder.glob("*.pem")
    file.rename(folder.with_name("key"))


def with_a_broken_key(folder: Path) -> None:
    [file] = folder.glob("*.pem")
    shutil.copy(file, folder.with_name("key"))
    file.write_text("no key")


@pytest.mark.parametrize(
    ("break_it", "cause"),
    [
        (without_the_folder, "The folder JWT_KEYS cannot be read"),
        (without_a_private_key, "JWT_KEYS does not contain the key that signs"),
        (with_a_broken_key, ".pem"),
    ],
)
def test_a_node_that_cannot_reload_its_keys_stays_ready(
    keys: Path, break_it: Any, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    assert ready()[1]["keys"] == "up"
    break_it(keys)
    for _ in range(3):
        code, state = ready()
        assert (code, state["status"], state["keys"]) == (200, "up", "not reloaded")
    if (elsewhere := keys.with_name("elsewhere")).exists():
        elsewhere.rename(keys)
    else:
        keys.with_name("key").replace(next(keys.glob("*.pem"), keys / "again.pem"))
    assert ready()[1]["keys"] == "up"
    lines = [each for each in caplog.messages if "cannot be reloaded" in each]
    assert len(lines) == 1
    assert cause in lines[0]
    assert "The keys in JWT_KEYS are reloaded again" in caplog.messages


def test_a_node_that_never_had_keys_is_not_ready(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_a_broken_key(keys)
    monkeypatch.setattr(health, "keyring", Keyring())
    code, state = ready()
    assert (code, state["status"], state["keys"]) == (503, "down", "unreadable")
    keys.with_name("key").replace(next(keys.glob("*.pem")))
    assert ready()[0] == 200
