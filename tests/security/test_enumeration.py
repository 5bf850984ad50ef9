"""
Account enumeration: the text, headers and work of a response do not reveal whether an account exists.
Work is counted in statements and hashes; tests/benchmarks/guessing.py measures the time.
"""

import re
from contextlib import contextmanager
from uuid import uuid4

import pytest
from django.contrib.auth import hashers
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.http import urlsafe_base64_encode

from accounts.models import AttemptCounter, User
from accounts.rate_limits import LIMITS, Kind
from tests.conftest import Browser

pytestmark = pytest.mark.django_db

WRONG = "not the right passphrase at all"
# Headers that differ in every response.
OF_EACH_ANSWER = re.compile(rb'name="csrfmiddlewaretoken" value="[^"]*"|<input[^>]* name="csrfmiddlewaretoken"[^>]*>')
HASHER = hashers.MD5PasswordHasher


@pytest.fixture(autouse=True)
def clock(time_machine):
    """A stopped clock, so that no response differs by its second."""
    time_machine.move_to(timezone.now(), tick=False)


@pytest.fixture
def accounts(ann, bob, staff, password):
    """Names by kind of account."""
    for name in ("inactive", "unusable", "service", "bound", "unconfirmed"):
        User.objects.create_user(name, f"{name}@example.org", password)
    User.objects.filter(username="inactive").update(is_active=False)
    unusable = User.objects.get(username="unusable")
    unusable.set_unusable_password()
    unusable.save()
    User.objects.filter(username="service").update(is_service=True)
    User.objects.filter(username="bound").update(bound_tokens_only=True)
    return {
        "known": "ann",
        "unknown": "zaphod",
        "inactive": "inactive",
        "of an unusable password": "unusable",
        "of a service": "service",
        "of bound tokens only": "bound",
        "of a superuser": "sue",
    }


@contextmanager
def work():
    """Counts hashes, and statements by table and kind."""
    done = {"hashes": 0}
    original = HASHER.encode

    def encode(self, *args, **kwargs):
        done["hashes"] += 1
        return original(self, *args, **kwargs)

    HASHER.encode = encode
    try:
        with CaptureQueriesContext(connection) as queries:
            yield done
    finally:
        HASHER.encode = original
    # Names of savepoints are numbered; values are ignored.
    done["statements"] = [re.sub(r"\W.*", "", query["sql"]) for query in queries]


def seen_from_outside(response, name):
    """Returns everything that an attacker can compare, without the submitted values."""
    body = OF_EACH_ANSWER.sub(b"", response.content).replace(f'value="{name}"'.encode(), b"")
    headers = {key: value for key, value in response.headers.items() if key not in ("Content-Length", "X-Request-ID")}
    cookies = {key: (morsel["max-age"], morsel["path"]) for key, morsel in response.cookies.items()}
    return response.status_code, body, headers, cookies


def ask(path, data, name):
    """Sends a request from a new browser, with reset rate limits."""
    AttemptCounter.objects.all().delete()
    cache.clear()
    browser = Browser()
    browser.get("/accounts/login/")
    with work() as done:
        response = post(browser, path, data)
    return seen_from_outside(response, name), done


def post(browser, path, data):
    return browser.post(path, data, **({"content_type": "application/json"} if path.startswith("/api/") else {}))


DOORS = {
    "page": "/accounts/login/",
    "API": "/api/token/",
    "admin": "/admin/login/",
    "page, to go elsewhere": "/accounts/login/?next=/admin/",
}


@pytest.mark.parametrize("path", DOORS.values(), ids=DOORS)
def test_a_refused_sign_in_does_not_reveal_the_account(accounts, path):
    answers = {kind: ask(path, {"username": name, "password": WRONG}, name) for kind, name in accounts.items()}
    seen, done = answers.pop("known")
    assert done["hashes"] == 1
    for kind, (other, other_done) in answers.items():
        assert other == seen, kind
        assert other_done == done, kind


@pytest.mark.parametrize("path", DOORS.values(), ids=DOORS)
def test_the_right_password_of_an_inactive_user_looks_wrong(accounts, path, password):
    seen, _done = ask(path, {"username": "ann", "password": WRONG}, "ann")
    others = ["inactive", "unusable"] + (["service"] if not path.startswith("/api/") else [])
    for name in others:
        assert ask(path, {"username": name, "password": password}, name)[0] == seen, name


@pytest.mark.parametrize("path", ["/api/password/reset/", "/accounts/password_reset/"])
def test_a_reset_request_does_not_reveal_the_account(accounts, path):
    """Mail is sent after the commit, in the background, so it does not change the time."""
    answers = {}
    for kind, name in accounts.items():
        address = f"{name}@example.org"
        answers[kind] = ask(path, {"email": address}, address)
    seen, done = answers.pop("known")
    assert seen[0] in (202, 302)
    assert done["hashes"] == 0
    for kind, (other, other_done) in answers.items():
        assert other == seen, kind
        assert other_done == done, kind


@pytest.mark.parametrize("path", ["/api/password/reset/confirm/", "/accounts/reset/{uid}/{token}/"])
def test_an_invalid_link_does_not_reveal_the_account(accounts, path):
    """The ids of accounts are not secret, and neither are unused ids."""
    answers = {}
    ids = {kind: str(User.objects.get(username=name).pk) for kind, name in accounts.items() if kind != "unknown"}
    for kind, pk in (ids | {"unknown": "987654"}).items():
        uid = urlsafe_base64_encode(pk.encode())
        new = "a quite different passphrase"
        data = {"uid": uid, "token": "c1u2v3-abcdef", "new_password": new, "new_password1": new}
        answers[kind] = ask(path.format(uid=uid, token="c1u2v3-abcdef"), data, uid)
    seen, done = answers.pop("known")
    assert seen[0] == 400
    for kind, (other, other_done) in answers.items():
        assert other == seen, kind
        assert other_done["hashes"] == done["hashes"] == 0
        assert len(other_done["statements"]) == len(done["statements"]), kind


def test_a_taken_name_and_a_taken_address_get_the_same_error(accounts, password):
    """A sign-up has to report that a name is taken, but not which kind of account has it."""
    for field in ("username", "email"):
        answers = {}
        for kind, name in accounts.items():
            if kind == "unknown":
                continue
            data = {"username": "carol", "email": "carol@example.org", "password": "a quite different passphrase"}
            data[field] = name if field == "username" else f"{name}@example.org"
            answers[kind] = ask("/api/register/", data, data[field])
        seen, done = answers.pop("known")
        assert seen[0] == 400
        for kind, (other, other_done) in answers.items():
            assert (other, other_done) == (seen, done), (field, kind)


def test_a_rate_limited_account_is_answered_like_an_unknown_name(accounts):
    for path in ("/api/token/", "/accounts/login/", "/admin/login/"):
        answers = {}
        for kind, name in accounts.items():
            AttemptCounter.objects.all().delete()
            for _ in range(LIMITS[Kind.PAIR].free_attempts + 1):
                with work() as done:
                    response = post(Browser(), path, {"username": name, "password": WRONG})
            answers[kind] = seen_from_outside(response, name), done
        seen, done = answers.pop("known")
        assert seen[0] == 429
        assert done["hashes"] == 0
        for kind, (other, other_done) in answers.items():
            assert (other, other_done) == (seen, done), (path, kind)


def test_another_users_id_is_answered_like_an_unknown_id(client_of, browser_of, ann, bob):
    """Rows of other users are answered as missing."""
    hers, his = client_of(ann), client_of(bob)
    sid_of_bob = his.get("/api/sign-ins/").json()["results"][0]["id"]
    event_of_bob = bob.security_events.first().pk
    browser = browser_of(ann)
    for theirs, nobodys in (
        (f"/api/sign-ins/{sid_of_bob}/", f"/api/sign-ins/{uuid4()}/"),
        (f"/accounts/sign-ins/{sid_of_bob}/end/", f"/accounts/sign-ins/{uuid4()}/end/"),
        (f"/accounts/sign-ins/{sid_of_bob}/name/", f"/accounts/sign-ins/{uuid4()}/name/"),
        (f"/accounts/activity/{event_of_bob}/not-me/", "/accounts/activity/987654/not-me/"),
    ):
        answers = []
        for path in (theirs, nobodys):
            with work() as done:
                response = hers.delete(path) if path.startswith("/api/") else browser.post(path)
            answers.append((seen_from_outside(response, path), done))
        assert answers[0] == answers[1]
        assert answers[0][0][0] == 404
