"""In a flood few passwords are hashed at once: the next is refused at every door, and nothing of it is counted."""

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
    """Takes a slot as another thread would: in a context of its own."""
    slot, context = hashing.hashing_slot(**options), Context()
    request = request_context.request()
    context.run(request_context._request.set, request)
    context.run(slot.__enter__)
    stack.callback(context.run, slot.__exit__, None, None, None)


def fill():
    """Takes slots for strangers at the request's address until one is refused."""
    stack = ExitStack()
    with suppress(hashing.HashingOverloaded):
        while True:
            hold(stack)
    return stack


@pytest.fixture
def all_at_it(rf, time_machine):
    """The slots are taken, and as many more came from this address as may wait before that is called a flood."""
    time_machine.move_to(time.time(), tick=False)
    with request_context.use_request(rf.get("/")):
        stack = fill()
    with stack:
        yield stack
    (lock_files.find_folder() / hashing.file_name("floods")).unlink()


def test_one_worker_is_left_for_others():
    assert settings.HASHES_AT_ONCE == 3


def test_after_ten_seconds_of_calm_it_is_no_flood_any_more(all_at_it, anonymous, ann, password, time_machine):
    credentials = {"username": "ann", "password": password}
    assert anonymous.post("/api/token/", credentials).status_code == 429
    time_machine.move_to(time.time() + hashing.OVERLOAD_RESET_SECONDS)
    assert anonymous.post("/api/token/", credentials).status_code == 200


@pytest.mark.parametrize("path", ["/api/token/", "/accounts/login/", "/admin/login/"])
def test_a_sign_in_too_many_is_refused_without_a_statement_and_heard_a_moment_later(
    all_at_it, browser, anonymous, staff, password, path, django_assert_num_queries
):
    credentials = {"username": staff.username, "password": password}
    door = anonymous if path.startswith("/api/") else browser()
    with django_assert_num_queries(0):
        answer = door.post(path, credentials)
    assert (answer.status_code, answer["Retry-After"]) == (429, "1")
    assert not AttemptCounter.objects.exists()
    assert not SecurityEvent.objects.exists()
    all_at_it.close()
    assert door.post(path, credentials).status_code in (200, 302)


def test_the_page_says_what_to_do(all_at_it, browser, ann, password):
    answer = browser().post("/accounts/login/", {"username": "ann", "password": password})
    assert "Try again shortly." in answer.content.decode()


def test_an_account_too_many_is_refused_and_counted_nowhere(all_at_it, browser, anonymous, password):
    form = {"username": "ann", "email": "ann@example.org", "password": password}
    assert anonymous.post("/api/register/", form).status_code == 429
    form |= {"password1": password, "password2": password}
    assert browser().post("/accounts/signup/", form).status_code == 429
    assert not User.objects.exists()
    assert not AttemptCounter.objects.exists()
    all_at_it.close()
    assert anonymous.post("/api/register/", form).status_code == 201


def test_whoever_is_signed_in_notices_nothing(client_of, browser_of, ann, request):
    client, browser = client_of(ann), browser_of(ann)
    request.getfixturevalue("all_at_it")
    assert client.get("/api/me/").status_code == 200
    assert client.renew().status_code == 200
    assert browser.get("/accounts/profile/").status_code == 200


def test_no_account_of_this_machine_is_first_at_the_files(all_at_it):
    """Unlike a file by name in the temporary folder, which everybody may make."""
    folder = lock_files.find_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("left_by_others", ["link", "open", "file"])
def test_a_folder_that_others_made_first_is_left_alone(tmp_path, monkeypatch, left_by_others):
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
def test_without_any_folder_sign_ins_work_and_each_process_has_its_own_limit(
    nowhere_to_write, anonymous, browser, ann, password, path, caplog, rf
):
    door = anonymous if path.startswith("/api/") else browser()
    credentials = {"username": "ann", "password": password}
    for _ in range(2):
        assert door.post(path, credentials).status_code in (200, 302)
    assert sum("limit of password hashes" in each for each in caplog.messages) == 1
    with request_context.use_request(rf.get("/")):
        stack = fill()
    # Not the browser that signed in: it is known by now.
    stranger = anonymous if path.startswith("/api/") else browser()
    with stack:
        assert stranger.post(path, credentials).status_code == 429


@pytest.fixture
def nowhere_to_write(tmp_path, monkeypatch, settings):
    """As in a container whose file system is read-only: files stand where the folders would be."""
    nowhere = tmp_path / "nowhere"
    nowhere.touch()
    monkeypatch.setattr(tempfile, "tempdir", str(nowhere))
    monkeypatch.setattr(lock_files, "SHARED_MEMORY", nowhere)
    monkeypatch.setattr(lock_files, "_own_files", {})
    settings.VAR_DIR = nowhere


def test_turns_are_common_to_the_processes_of_a_node_and_outlive_none_of_them(fleet):
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
