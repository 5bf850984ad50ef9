"""The folder of JWT_KEYS: changes are detected, unreadable files are logged, other files are used."""

import logging
import os
import threading
import time

import jwt
import pytest
import time_machine
from django.core.management import call_command
from django.utils import timezone

from api.keys import Key, KeyFolder, keyring, rotation
from tests.conftest import claims_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("poll_every_time")]


@pytest.fixture
def folder(tmp_path, settings):
    """A folder with one signing and one verifying key."""
    make = rotation.Rotation(str(tmp_path / "keys"))
    with time_machine.travel(timezone.now() - timezone.timedelta(hours=1)):
        first, second = make.publish("ES256"), make.publish("ES256")
        make.promote(first, force=True)
        make.promote(second, force=True)
        [derived] = make.statuses().keys() - {first, second}
        make.retire(derived, force=True)
    settings.JWT_KEYS = str(make.folder.path)
    return make.folder.path


@pytest.fixture
def older(folder, client_of, ann):
    """A client whose token is signed by the older key."""
    client = client_of(ann)
    key = Key.from_pem(folder / f"{kid_of(folder, 'verifying')}.pem")
    claims = claims_of(client.access)
    client.access = jwt.encode(claims, key.signing, algorithm="ES256", headers={"kid": key.kid, "typ": "at+jwt"})
    assert client.get("/api/me/").status_code == 200
    return client


def kid_of(folder, state):
    statuses = KeyFolder(str(folder)).statuses()
    return next(kid for kid, status in statuses.items() if status.state == state)


def link(target):
    return lambda path: path.symlink_to(target(path) if callable(target) else target)


def a_file_without_rights(path):
    path.write_text("secret")
    path.chmod(0)


def a_link_into_a_file(path):
    (path.parent.parent / "file").touch()
    path.symlink_to(path.parent.parent / "file" / "key.pem")


UNREADABLE = {
    "a link to nowhere": link("user@host.4711:1234"),
    "a link to itself": link(lambda path: path.name),
    "a link through a file": a_link_into_a_file,
    "a link to a folder": link(lambda path: path.parent),
    "a link to a device": link("/dev/zero"),
    "a link to a terminal": link("/dev/tty"),
    "a folder": lambda path: path.mkdir(),
    "a FIFO": os.mkfifo,
    "a huge file": lambda path: path.write_bytes(b"-" * 10_000_000),
    "a sparse file of a terabyte": lambda path: path.touch() or os.truncate(path, 10**12),
    "no rights": pytest.param(
        a_file_without_rights, marks=pytest.mark.skipif(os.geteuid() == 0, reason="root reads it")
    ),
}
NAMES = {
    ".#key.pem": ".#key.pem",
    "first.pem": "0.pem",
    "last.pem": "zzz.pem",
    "not UTF-8": os.fsdecode(b"\xff\xfe.pem"),
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE)
def test_a_removed_key_verifies_nothing_whatever_else_is_there(folder, older, client_of, bob, make, name, caplog):
    with caplog.at_level(logging.WARNING, "api"):
        make(folder / name)
        assert older.get("/api/me/").status_code == 200
        logged = [record.message for record in caplog.records if record.name == "api.keys.ring"]
        assert len(logged) == 1
        assert name.encode("ascii", "backslashreplace").decode() in logged[0]
        assert logged[0].encode("utf-8")
        for _ in range(3):
            older.get("/api/me/")
        assert len([record for record in caplog.records if record.name == "api.keys.ring"]) == 1
    call_command("keys", "retire", kid_of(folder, "verifying"), "--force")
    assert older.get("/api/me/").status_code == 401
    assert client_of(bob).get("/api/me/").status_code == 200


def test_a_symbolic_link_that_changes_is_followed(folder, older, client_of, bob):
    kid = kid_of(folder, "signing")
    elsewhere = folder.parent / "elsewhere.pem"
    (folder / f"{kid}.pem").rename(elsewhere)
    (folder / f"{kid}.pem").symlink_to(elsewhere)
    assert client_of(bob).get("/api/me/").status_code == 200
    # The signing key is missing: the loaded keys stay in use.
    elsewhere.rename(folder.parent / "away.pem")
    assert client_of(bob).get("/api/me/").status_code == 200
    (folder.parent / "away.pem").rename(elsewhere)
    assert client_of(bob).get("/api/me/").status_code == 200
    assert older.get("/api/me/").status_code == 200


def test_a_key_with_an_unreadable_file_verifies_nothing(folder, older):
    path = folder / f"{kid_of(folder, 'verifying')}.pem"
    path.unlink()
    path.symlink_to("nowhere")
    assert older.get("/api/me/").status_code == 401


def test_a_file_that_vanishes_during_a_read_is_skipped(folder, older, monkeypatch):
    from_pem = Key.from_pem

    def vanish(path):
        if path.name == "0.pem":
            path.unlink()
        return from_pem(path)

    (folder / "0.pem").write_bytes(Key.generate("ES256").pem)
    monkeypatch.setattr(Key, "from_pem", vanish)
    call_command("keys", "retire", kid_of(folder, "verifying"), "--force")
    assert older.get("/api/me/").status_code == 401


def test_the_list_names_unreadable_files(folder, older, capsys):
    (folder / ".#key.pem").symlink_to("nowhere")
    call_command("keys")
    assert "Cannot be read: .#key.pem (No such file or directory)" in capsys.readouterr().err


RINGS = {
    "a FIFO": os.mkfifo,
    "a link to nowhere": link("nowhere"),
    "a folder": lambda path: path.mkdir(),
    "a huge file": lambda path: path.write_bytes(b" " * 10_000_000 + b"{}"),
    "100,000 levels": lambda path: path.write_bytes(b"[" * 100_000),
    "1,000 levels": lambda path: path.write_bytes(b'{"a":' * 1_000 + b"1" + b"}" * 1_000),
    "not UTF-8": lambda path: path.write_bytes(b'{"\xff": 1}'),
    "UTF-16": lambda path: path.write_text("{}", encoding="utf-16"),
    "numbers": lambda path: path.write_text('{"1": 1}'),
    "a moment of another kind": lambda path: path.write_text('{"a": {"state": "signing", "since": 1}}'),
    "a moment beyond time": lambda path: path.write_text('{"a": {"state": "signing", "since": "99999-01-01"}}'),
    "a list for a state": lambda path: path.write_text('{"a": {"state": ["signing"], "since": "2026-01-01"}}'),
}


@pytest.mark.parametrize("make", RINGS.values(), ids=RINGS)
def test_an_unreadable_ring_changes_nothing_and_is_logged(folder, older, client_of, bob, make, caplog):
    (folder / "ring.json").unlink()
    make(folder / "ring.json")
    with caplog.at_level(logging.WARNING, "api"):
        for _ in range(3):
            assert older.get("/api/me/").status_code == 200
        assert client_of(bob).get("/api/me/").status_code == 200
    logged = [record.message for record in caplog.records if record.name.startswith("api")]
    assert len(logged) == 1
    assert "ring.json" in logged[0]


def test_the_folder_changes_while_it_is_read(folder, client_of, ann):
    client, done = client_of(ann), threading.Event()

    def disturb():
        number = 0
        while not done.is_set():
            number += 1
            path = folder / f".#{number % 7}.pem"
            path.unlink(missing_ok=True)
            path.symlink_to("nowhere")
            (folder / ".#3.pem").unlink(missing_ok=True)

    other = threading.Thread(target=disturb)
    other.start()
    try:
        until = time.monotonic() + 1
        while time.monotonic() < until:
            assert client.get("/api/me/").status_code == 200
    finally:
        done.set()
        other.join()
    keyring.reload_if_changed()
