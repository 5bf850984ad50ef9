"""Every endpoint that hashes a password takes a slot. Without one it answers 429 and changes nothing."""

import threading
import time
from contextlib import ExitStack, suppress

import pytest
from django.conf import settings
from django.contrib.auth.hashers import MD5PasswordHasher
from django.db import connection
from django.db.models import Sum

from accounts import hashing, lock_files
from accounts.http import request_context
from accounts.models import AttemptCounter, User
from tests.accounts.test_hashing import hold
from tests.conftest import ApiClient, Browser

WRONG = "not the right passphrase at all"
NEW = "a quite different passphrase"


class Watching(MD5PasswordHasher):
    """Records whether each call had a slot and ran in a transaction."""

    algorithm = "watching"
    seen: list[tuple[bool, bool]] = []

    def encode(self, password, salt):
        if request_context.request():
            self.seen.append((hashing._has_slot.get(), connection.in_atomic_block))
        return super().encode(password, salt)


@pytest.fixture
def hashes(settings):
    """One pair for each hash in a request: whether it had a slot, and whether a transaction was open."""
    settings.PASSWORD_HASHERS = [f"{__name__}.Watching"]
    Watching.seen.clear()
    return Watching.seen


CAROL = {"username": "carol", "email": "carol@example.org"}
BOTH = {"password1": NEW}
NEW_BOTH = {"new_password1": NEW}
# The password is right where one is required, so that the steps after the check run, too.
ENDPOINTS = {
    "sign-in page": lambda ann: Browser().post("/accounts/login/", {"username": "ann", "password": ann.password}),
    "sign-in, API": lambda ann: ApiClient().sign_in("ann", ann.password),
    "sign-in, admin": lambda ann: Browser().post("/admin/login/", {"username": "ann", "password": ann.password}),
    "sign-in, nobody": lambda ann: ApiClient().sign_in("nobody", WRONG),
    "sign-up page": lambda ann: Browser().post("/accounts/signup/", CAROL | BOTH),
    "register, API": lambda ann: ApiClient().post("/api/register/", CAROL | {"password": NEW}),
    "throw-away account": lambda ann: Browser().post("/compare/throw-away/"),
    "confirm page": lambda ann: ann.browser.post("/accounts/confirm/", {"password": ann.password}),
    "confirm, API": lambda ann: ann.client.post("/api/password/confirm/", {"password": ann.password}),
    "change page": lambda ann: ann.browser.post(
        "/accounts/password_change/", {"old_password": ann.password} | NEW_BOTH
    ),
    "change, API": lambda ann: ann.client.post(
        "/api/password/change/", {"old_password": ann.password, "new_password": NEW}
    ),
    "delete page": lambda ann: ann.browser.post("/accounts/delete/", {"password": ann.password}),
    "reset page": lambda ann: Browser().post("/accounts/reset/{}/{}/".format(*ann.link), NEW_BOTH),
    "reset, API": lambda ann: ApiClient().post(
        "/api/password/reset/confirm/", {"uid": ann.link[0], "token": ann.link[1], "new_password": NEW}
    ),
}


class Caller:
    """Ann, signed in in both modes; with a reset link if needed, which a later sign-in would invalidate."""

    def __init__(self, ann, password, browser_of, client_of, reset_link, with_link):
        self.password = password
        self.browser, self.client = browser_of(ann), client_of(ann)
        self.link = reset_link(ann) if with_link else None


@pytest.fixture(params=ENDPOINTS)
def send(request, ann, password, browser_of, client_of, reset_link):
    caller = Caller(ann, password, browser_of, client_of, reset_link, "reset" in request.param)
    return lambda: ENDPOINTS[request.param](caller)


@pytest.mark.django_db(transaction=True)
def test_each_hash_takes_a_slot_outside_of_transactions(hashes, send):
    hashes.clear()
    assert send().status_code in (200, 201, 204, 302, 401)
    assert hashes
    assert set(hashes) == {(True, False)}


@pytest.fixture
def no_slot(rf, time_machine):
    """Takes every slot, also those of known browsers, and uses all waiting requests."""
    with ExitStack() as stack:

        def take():
            time_machine.move_to(time.time(), tick=False)
            with request_context.use_request(rf.get("/")), suppress(hashing.HashingOverloaded):
                for number in range(1000):
                    hold(stack, known=f"client {number}")

        yield take
    (lock_files.find_folder() / hashing.file_name("floods")).unlink()


@pytest.mark.django_db
def test_without_a_slot_the_answer_is_429_without_changes(send, no_slot):
    def state():
        users = User.objects.order_by("pk").values_list("pk", "password", "is_active")
        guesses = AttemptCounter.objects.filter(kind__in=["pair", "account", "address", "device", "inside"])
        return list(users), guesses.aggregate(Sum("count"))["count__sum"] or 0

    before = state()
    no_slot()
    answer = send()
    assert (answer.status_code, answer["Retry-After"]) == (429, "1")
    assert state() == before


@pytest.mark.django_db
def test_a_slot_is_reserved_for_known_browsers(rf, time_machine, ann, bob, password, browser_of, anonymous):
    browser = browser_of(ann)
    browser.post("/accounts/logout/")
    time_machine.move_to(time.time(), tick=False)
    with ExitStack() as stack:
        with request_context.use_request(rf.get("/")), suppress(hashing.HashingOverloaded):
            while True:
                hold(stack)
        assert anonymous.sign_in("bob", password).status_code == 429
        assert browser.post("/accounts/login/", {"username": "ann", "password": WRONG}).status_code == 200
        assert browser.post("/accounts/login/", {"username": "ann", "password": password}).status_code == 302
    (lock_files.find_folder() / hashing.file_name("floods")).unlink()


@pytest.mark.django_db
def test_floods_are_counted_by_address(rf, time_machine, ann, password):
    time_machine.move_to(time.time(), tick=False)
    with ExitStack() as stack:
        with request_context.use_request(rf.get("/", REMOTE_ADDR="198.51.100.7")), suppress(hashing.HashingOverloaded):
            while True:
                hold(stack)
        credentials = {"username": "ann", "password": password}
        answers = [
            ApiClient().post("/api/token/", credentials, REMOTE_ADDR=address).status_code
            for address in ("198.51.100.7", "203.0.113.9", "2001:db8::1")
        ]
    assert answers == [429, 200, 200]
    (lock_files.find_folder() / hashing.file_name("floods")).unlink()


@pytest.mark.django_db(transaction=True)
def test_a_hash_waits_for_a_slot(rf, ann, password):
    """Outside of a transaction, whose locks would delay other requests."""
    with ExitStack() as stack:
        with request_context.use_request(rf.get("/")):
            for number in range(settings.HASHES_AT_ONCE):
                hold(stack, known=f"client {number}")
        timer = threading.Timer(0.3, stack.close)
        timer.start()
        started = time.monotonic()
        assert ApiClient().sign_in("ann", password).status_code == 200
        assert time.monotonic() - started > 0.25
        timer.join()
    (lock_files.find_folder() / hashing.file_name("floods")).unlink()


@pytest.mark.django_db
def test_a_nested_hash_takes_no_second_slot(rf, settings, ann, password):
    settings.HASHES_AT_ONCE = 1
    with request_context.use_request(rf.get("/")), hashing.hashing_slot(), hashing.hashing_slot():
        assert ann.check_password(password)
