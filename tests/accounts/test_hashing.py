"""The limit of parallel password hashes: further requests are refused and not counted."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from contextvars import Context

import httpx
import pytest
from django.conf import settings

from accounts import hashing, lock_files
from accounts.http import request_context
from accounts.models import AttemptCounter, SecurityEvent, User
from tests import servers

pytestmark = pytest.mark.django_db

HOLD = """
import sys
from django.db import transaction
from django.test import RequestFactory
from accounts import hashing
from accounts.http import request_context
from tests.accounts.test_hashing import fill
with transaction.atomic(), request_context.use_request(RequestFactory().get("/")):
    stack = fill()
print("held", flush=True)
sys.stdin.read()
"""


def hold(stack, **options):
    """Takes a slot in its own context, as another thread does."""
    slot, context = hashing.hashing_slot(**options), Context()
    request = request_context.request()
    context.run(request_context._request.set, request)
    context.run(slot.__enter__)
    stack.callback(context.run, slot.__exit__, None, None, None)


def fill():
    """Takes slots for strangers from the address of the request until one is refused."""
    stack = ExitStack()
    with suppress(hashing.HashingOverloaded):
        while True:
            hold(stack)
    return stack


@pytest.fixture
def overload(rf, time_machine):
    """All slots are taken, and this address has used its waiting requests: the state is overload."""
    time_machine.move_to(time.time(), tick=False)
    with request_context.use_request(rf.get("/")):
        stack = fill()
    with stack:
        yield stack
    (lock_files.find_folder() / hashing.file_name("floods")).unlink()


def test_the_default_leaves_one_worker_free():
    assert settings.HASHES_AT_ONCE == 3


def test_the_overload_state_resets_after_ten_quiet_seconds(overload, anonymous, ann, password, time_machine):
    credentials = {"username": "ann", "password": password}
    assert anonymous.post("/api/token/", credentials).status_code == 429
    time_machine.move_to(time.time() + hashing.OVERLOAD_RESET_SECONDS)
    assert anonymous.post("/api/token/", credentials).status_code == 200


@pytest.mark.parametrize("path", ["/api/token/", "/accounts/login/", "/admin/login/"])
def test_a_sign_in_without_a_slot_is_refused_without_a_statement(
    overload, browser, anonymous, staff, password, path, django_assert_num_queries
):
    credentials = {"username": staff.username, "password": password}
    client = anonymous if path.startswith("/api/") else browser()
    with django_assert_num_queries(0):
        answer = client.post(path, credentials)
    assert (answer.status_code, answer["Retry-After"]) == (429, "1")
    assert not AttemptCounter.objects.exists()
    assert not SecurityEvent.objects.exists()
    overload.close()
    assert client.post(path, credentials).status_code in (200, 302)


def test_the_page_asks_to_try_again(overload, browser, ann, password):
    answer = browser().post("/accounts/login/", {"username": "ann", "password": password})
    assert "Try again shortly." in answer.content.decode()


def test_a_sign_up_without_a_slot_is_refused_and_not_counted(overload, browser, anonymous, password):
    form = {"username": "ann", "email": "ann@example.org", "password": password}
    assert anonymous.post("/api/register/", form).status_code == 429
    form |= {"password1": password}
    assert browser().post("/accounts/signup/", form).status_code == 429
    assert not User.objects.exists()
    assert not AttemptCounter.objects.exists()
    overload.close()
    assert anonymous.post("/api/register/", form).status_code == 201


def test_signed_in_users_are_not_affected(client_of, browser_of, ann, request):
    client, browser = client_of(ann), browser_of(ann)
    request.getfixturevalue("overload")
    assert client.get("/api/me/").status_code == 200
    assert client.renew().status_code == 200
    assert browser.get("/accounts/profile/").status_code == 200


def test_lock_files_are_private_to_the_system_account(overload):
    """Files with fixed names in the temporary folder could be created by any account."""
    folder = lock_files.find_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = set()
    for each in folder.iterdir():
        # Other processes of this account share the folder, and delete their files.
        with suppress(FileNotFoundError):
            modes.add(each.stat().st_mode & 0o777)
    assert modes == {0o600}


@pytest.mark.parametrize("left_by_others", ["link", "open", "file"])
def test_a_folder_that_another_account_controls_is_not_used(tmp_path, monkeypatch, left_by_others):
    theirs = tmp_path / f"wristband-{os.getuid()}"
    if left_by_others == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        theirs.symlink_to(tmp_path / "elsewhere")
    elif left_by_others == "file":
        theirs.touch()
    else:
        theirs.mkdir()
        theirs.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert lock_files.find_folder() not in (None, theirs)


@pytest.mark.parametrize("path", ["/api/token/", "/accounts/login/"])
def test_without_a_folder_each_process_has_its_own_limit(
    nowhere_to_write, anonymous, browser, ann, password, path, caplog, rf, time_machine
):
    # Waiting requests are counted for some seconds.
    time_machine.move_to(time.time(), tick=False)
    client = anonymous if path.startswith("/api/") else browser()
    credentials = {"username": "ann", "password": password}
    for _ in range(2):
        assert client.post(path, credentials).status_code in (200, 302)
    assert sum("limit of password hashes" in each for each in caplog.messages) == 1
    with request_context.use_request(rf.get("/")):
        stack = fill()
    # A new browser: the one that signed in is a known browser now.
    stranger = anonymous if path.startswith("/api/") else browser()
    with stack:
        assert stranger.post(path, credentials).status_code == 429


@pytest.fixture
def nowhere_to_write(tmp_path, monkeypatch, settings):
    """Files in place of the folders, as in a container with a read-only file system."""
    nowhere = tmp_path / "nowhere"
    nowhere.touch()
    monkeypatch.setattr(tempfile, "tempdir", str(nowhere))
    monkeypatch.setattr(lock_files, "SHARED_MEMORY", nowhere)
    monkeypatch.setattr(lock_files, "_own_files", {})
    settings.VAR_DIR = nowhere


def test_slots_are_shared_by_a_node_and_freed_by_killed_processes(fleet):
    holder = subprocess.Popen(
        [sys.executable, "manage.py", "shell", "--verbosity=0", "--command", HOLD],
        cwd=servers.ROOT,
        env=os.environ | fleet.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        assert sign_in(fleet) == 429
    finally:
        holder.kill()
        holder.wait()
    assert sign_in(fleet) == 401


def sign_in(fleet):
    credentials = {"username": "nobody", "password": "not the right passphrase at all"}
    return httpx.post(f"{fleet.url}/api/token/", json=credentials, timeout=30, trust_env=False).status_code
