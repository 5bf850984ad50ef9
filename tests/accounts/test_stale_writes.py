"""A change of a name never undoes a decision of another request, on four worker processes and real stores."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from tests import servers

PASSWORD = "violet anchor hums at dawn"
NEW_PASSWORD = "quiet copper lantern drifts"
SERVER = """
import json, sys
from accounts.links import email_confirmation, password_reset
from accounts.models import SignIn, User
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

def uid(user):
    return urlsafe_base64_encode(force_bytes(user.pk))

for line in sys.stdin:
    print(json.dumps(eval(line)), flush=True)
"""


class Shell:
    """A process on the same stores that evaluates expressions."""

    def __init__(self, env: dict[str, str]) -> None:
        command = [sys.executable, "manage.py", "shell", "--verbosity=0", "--command", SERVER]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, cwd=servers.ROOT, env=os.environ | env, text=True, **pipes)

    def __call__(self, expression: str) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{' '.join(expression.split())}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=20)


@pytest.fixture(scope="module")
def shell(fleet: Any) -> Iterator[Shell]:
    shell = Shell(fleet.env)
    yield shell
    shell.close()


class Person:
    """A staff member with a client and a browser."""

    def __init__(self, shell: Shell, url: str) -> None:
        self.shell, self.url = shell, url
        self.name = f"p{uuid4().hex[:12]}"
        make = f"User.objects.create_user({self.name!r}, {self.name + '@example.org'!r}, {PASSWORD!r}, is_staff=True,"
        self.pk = shell(f"{make} is_superuser=True).pk")
        self.access = self.sign_in().json()["access"]

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access}"}

    def sign_in(self, password: str = PASSWORD) -> httpx.Response:
        return self.post("/api/token/", {"username": self.name, "password": password})

    def post(self, path: str, data: object, **headers: str) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=data, headers=headers, timeout=60, verify=servers.AUTHORITIES)

    @contextmanager
    def browser(self) -> Iterator[Callable[..., httpx.Response]]:
        """Signs in and yields a function that posts a form."""
        with httpx.Client(base_url=self.url, timeout=60, verify=servers.AUTHORITIES) as client:

            def post(path: str, data: dict[str, Any]) -> httpx.Response:
                client.get("/accounts/login/")
                token = servers.csrf_token(client.cookies)
                return client.post(path, data=data | {"csrfmiddlewaretoken": token})

            answer = post("/accounts/login/", {"username": self.name, "password": PASSWORD})
            assert answer.status_code == 302, answer.text
            yield post

    def says(self, expression: str) -> Any:
        """Evaluates an expression on the row in the database: `row` is the user, or None."""
        return self.shell(f"(lambda row: {expression})(User.objects.filter(pk={self.pk}).first())")


@pytest.fixture
def person(shell: Shell, fleet: Any) -> Person:
    return Person(shell, fleet.url)


# Each decision about an account, and the expression that is true afterwards.


def by_api_password_change(person: Person) -> None:
    answer = person.post(
        "/api/password/change/", {"old_password": PASSWORD, "new_password": NEW_PASSWORD}, **person.bearer
    )
    assert answer.status_code == 204, answer.text


def by_page_password_change(person: Person) -> None:
    new = {"new_password1": NEW_PASSWORD}
    with person.browser() as post:
        assert post("/accounts/password_change/", {"old_password": PASSWORD, **new}).status_code == 302


def by_reset(person: Person) -> None:
    uid, token = person.says("(uid(row), password_reset.make_token(row))")
    answer = person.post("/api/password/reset/confirm/", {"uid": uid, "token": token, "new_password": NEW_PASSWORD})
    assert answer.status_code == 204, answer.text


def by_update(**values: object) -> Callable[[Person], None]:
    def update(person: Person) -> None:
        assert person.shell(f"User.objects.filter(pk={person.pk}).update(**{values!r})") == 1

    return update


def by_admin_form(**changes: str) -> Callable[[Person], None]:
    """Another superuser sends the form of the account. An unticked box is omitted."""

    def send(person: Person) -> None:
        form = {"username": person.name, "email": f"{person.name}@example.org", "is_active": "on", "is_staff": "on"}
        form |= {"is_superuser": "on", **changes}
        with Person(person.shell, person.url).browser() as post:
            answer = post(f"/admin/accounts/user/{person.pk}/change/", {k: v for k, v in form.items() if v})
            assert answer.status_code == 302, answer.text

    return send


def by_admin_action(person: Person) -> None:
    with Person(person.shell, person.url).browser() as post:
        form = {"action": "deactivate", "_selected_action": str(person.pk), "confirmed": "yes", "why": "Stolen."}
        assert post("/admin/accounts/user/", form).status_code == 302


def by_confirmed_address(person: Person) -> None:
    person.shell(f"User.objects.filter(pk={person.pk}).update(new_email='new-{person.name}@example.org')")
    uid, token = person.says("(uid(row), email_confirmation.make_token(row))")
    with person.browser() as post:
        assert post(f"/accounts/email/{uid}/{token}/", {}).status_code == 200


def by_new_address(person: Person) -> None:
    by_update(email=f"new-{person.name}@example.org")(person)


def by_page_deletion(person: Person) -> None:
    with person.browser() as post:
        assert post("/accounts/delete/", {"password": PASSWORD}).status_code == 200


def by_admin_deletion(person: Person) -> None:
    with Person(person.shell, person.url).browser() as post:
        assert post(f"/admin/accounts/user/{person.pk}/delete/", {"post": "yes"}).status_code == 302


def by_query_deletion(person: Person) -> None:
    person.shell(f"User.objects.filter(pk={person.pk}).delete()[0]")


HAS_NEW_PASSWORD = f"row.check_password({NEW_PASSWORD!r})"
IS_INACTIVE = "not row.is_active"
IS_GONE = "row is None"
DECISIONS = {
    "password changed by the API": (by_api_password_change, HAS_NEW_PASSWORD),
    "password changed by the page": (by_page_password_change, HAS_NEW_PASSWORD),
    "password reset": (by_reset, HAS_NEW_PASSWORD),
    "deactivated by the admin's form": (by_admin_form(is_active=""), IS_INACTIVE),
    "deactivated by the admin's action": (by_admin_action, IS_INACTIVE),
    "deactivated by update()": (by_update(is_active=False), IS_INACTIVE),
    "demoted by the admin's form": (by_admin_form(is_staff="", is_superuser=""), "not row.is_staff"),
    "demoted by update()": (by_update(is_staff=False, is_superuser=False), "not row.is_superuser"),
    "address changed by its link": (by_confirmed_address, "row.email.startswith('new-')"),
    "address changed by update()": (by_new_address, "row.email.startswith('new-')"),
    "sign-ins under way refused": (by_update(generation=41), "row.generation >= 41"),
    "deleted by the page": (by_page_deletion, IS_GONE),
    "deleted by the admin": (by_admin_deletion, IS_GONE),
    "deleted by a query": (by_query_deletion, IS_GONE),
}
ALL_DECISIONS = pytest.mark.parametrize("decision", DECISIONS)


@ALL_DECISIONS
def test_a_name_sent_in_two_halves_undoes_no_decision(person: Person, decision: str) -> None:
    decide, holds = DECISIONS[decision]
    body = b'{"first_name": "zz"}'
    place = urlsplit(person.url)
    head = f"PATCH /api/me/ HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: {person.bearer['Authorization']}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        connection.sendall(head.encode() + body[:9])
        # Time for a worker to read the headers and the rows that they need.
        time.sleep(0.4)
        decide(person)
        connection.sendall(body[9:])
        answer = connection.recv(65536)
    assert answer[:12] in (b"HTTP/1.1 200", b"HTTP/1.1 401"), answer[:200]
    assert person.says(holds), f"{decision}: undone"


@ALL_DECISIONS
@pytest.mark.long
@pytest.mark.parametrize("mode", ["API", "page"])
def test_a_flood_of_names_undoes_no_decision(person: Person, decision: str, mode: str) -> None:
    decide, holds = DECISIONS[decision]
    is_over = threading.Event()

    def change_name_by_api() -> None:
        with httpx.Client(base_url=person.url, timeout=60, verify=servers.AUTHORITIES) as client:
            while not is_over.is_set():
                client.patch("/api/me/", json={"first_name": uuid4().hex}, headers=person.bearer)

    def change_name_by_page() -> None:
        with person.browser() as post:
            while not is_over.is_set():
                post("/accounts/profile/", {"first_name": uuid4().hex, "last_name": "z"})

    flood = change_name_by_api if mode == "API" else change_name_by_page
    threads = [threading.Thread(target=flood) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(1.2 if mode == "page" else 0.3)
    try:
        decide(person)
        time.sleep(0.3)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert person.says(holds), f"{decision}: undone"
