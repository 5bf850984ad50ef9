"""Every way to write a user, interrupted before each of its statements by a decision of another request."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.tokens import default_token_generator
from django.core.cache import cache
from django.core.exceptions import ObjectDoesNotExist
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from accounts import links
from accounts.models import AccountChanged, AttemptCounter, SecurityEvent, SignIn, User
from tests.accounts.admin_pages import SIGN_INS, USERS, act
from tests.conftest import ApiClient, Browser

# Runs with --distributed only: on SQLite a transaction holds the only lock, so few interruptions are possible.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

PASSWORD = "violet anchor hums at dawn"
NEW_PASSWORD = "quiet copper lantern drifts"
DECIDED = {
    "password": "!decided by another request",
    "is_active": False,
    "is_staff": True,
    "is_superuser": True,
    "bound_tokens_only": True,
}
SECONDS_FOR_A_LOCK = 0.03


class World:
    """An account with a browser and a client, and a superuser's browser."""

    number = 0

    def __init__(self, staff: Browser) -> None:
        World.number += 1
        self.name = f"ann{World.number}"
        self.ann = User.objects.create_user(self.name, f"{self.name}@example.org", PASSWORD)
        self.staff = staff
        self.browser = Browser()
        self.browser.post("/accounts/login/", {"username": self.name, "password": PASSWORD})
        self.client = ApiClient()
        self.client.sign_in(self.name, PASSWORD)
        self.other = SignIn.objects.filter(user=self.ann, kind=SignIn.Kind.CLIENT).get()
        self.event = SecurityEvent.objects.filter(user=self.ann, sid=self.other.sid).latest("pk")
        self.anonymous = ApiClient()
        self.ann.refresh_from_db()

    def link(self, path: str, tokens: Any, **changes: Any) -> str:
        for name, value in changes.items():
            setattr(self.ann, name, value)
        self.ann.save(update_fields=list(changes) or None)
        return path.format(urlsafe_base64_encode(force_bytes(self.ann.pk)), tokens.make_token(self.ann))


# Prepares the input of a write and returns the function that sends it.
Write = Callable[[World], Callable[[], Any]]


def page(path: str, **form: str) -> Write:
    def prepare(world: World) -> Callable[[], Any]:
        filled = {name: value.format(name=world.name) for name, value in form.items()}
        return lambda: world.browser.post(path.format(sid=world.other.pk, event=world.event.pk), filled)

    return prepare


def api(method: str, path: str, **body: Any) -> Write:
    return lambda world: lambda: world.client.request(method, path.format(sid=world.other.pk), body)


def action(url: str, name: str) -> Write:
    return lambda world: lambda: act(world.staff, url, name, world.other if url == SIGN_INS else world.ann)


def token_call(path: str, field: str, token: str) -> Write:
    return lambda world: lambda: world.anonymous.post(path, {field: getattr(world.client, token)})


def revoke(world: World) -> Callable[[], Any]:
    form = f"token={world.client.access}"
    return lambda: Browser().post("/api/token/revoke/", form, content_type="application/x-www-form-urlencoded")


def api_login(world: World) -> Callable[[], Any]:
    return lambda: world.anonymous.post("/api/token/", {"username": world.name, "password": PASSWORD})


def page_login(world: World) -> Callable[[], Any]:
    return lambda: Browser().post("/accounts/login/", {"username": world.name, "password": PASSWORD, "keep": "on"})


def wrong_login(world: World) -> Callable[[], Any]:
    return lambda: Browser().post("/accounts/login/", {"username": world.name, "password": "wrong"})


def confirm_address(world: World) -> Callable[[], Any]:
    path = world.link("/accounts/email/{}/{}/", links.email_confirmation, new_email=f"n-{world.name}@example.org")
    return lambda: world.browser.post(path)


def reset_page(world: World) -> Callable[[], Any]:
    path = world.link("/accounts/reset/{}/{}/", default_token_generator)
    return lambda: Browser().post(path, {"new_password1": NEW_PASSWORD})


def reset_api(world: World) -> Callable[[], Any]:
    uid, token = world.link("{} {}", default_token_generator).split()
    body = {"uid": uid, "token": token, "new_password": NEW_PASSWORD}
    return lambda: world.anonymous.post("/api/password/reset/confirm/", body)


def admin_form(world: World) -> Callable[[], Any]:
    """A staff member opened the page before, and corrects a name."""
    url = f"{USERS}{world.ann.pk}/change/"
    shown = world.staff.get(url).content.decode()
    form = dict(re.findall(r'<input type="hidden" name="(initial-[^"]+)" value="([^"]*)"', shown))
    ticked = {name.removeprefix("initial-"): "on" for name, value in form.items() if value == "True"}
    form |= ticked | {"username": world.name, "email": world.ann.email, "first_name": "Ann", "last_name": ""}
    return lambda: world.staff.post(url, form)


def django_save(world: World) -> Callable[[], Any]:
    user = User.objects.get(pk=world.ann.pk)

    def save() -> None:
        user.first_name = "zz"
        with suppress(ObjectDoesNotExist):
            user.save()

    return save


def save_after_a_password(world: World) -> Callable[[], Any]:
    user = User.objects.get(pk=world.ann.pk)

    def save() -> None:
        user.set_password(NEW_PASSWORD)
        with suppress(AccountChanged):
            user.save()

    return save


def update_or_create(world: World) -> Callable[[], Any]:
    return lambda: User.objects.update_or_create(username=world.name, defaults={"first_name": "zz"})


def bulk_update(world: World) -> Callable[[], Any]:
    user = User.objects.get(pk=world.ann.pk)
    user.first_name = "zz"
    return lambda: User.objects.bulk_update([user], ["first_name"])


def save_of_the_sign_in(world: World) -> Callable[[], Any]:
    sign_in = SignIn.objects.select_related("user").get(pk=world.other.pk)

    def save() -> None:
        sign_in.name = "zz"
        with suppress(ObjectDoesNotExist):
            sign_in.save()

    return save


def command(*arguments: str) -> Write:
    def run(world: World) -> Callable[[], Any]:
        def call() -> None:
            with suppress(CommandError):
                call_command(*[each.format(name=world.name) for each in arguments], stdout=StringIO())

        return call

    return run


WRITES: dict[str, Write] = {
    "profile": page("/accounts/profile/", first_name="zz", last_name="z"),
    "password change": page("/accounts/password_change/", old_password=PASSWORD, new_password1=NEW_PASSWORD),
    "confirm the password": page("/accounts/confirm/", password=PASSWORD),
    "ask for another address": page("/accounts/email/", new_email="another@example.net"),
    "ask for the confirmation": page("/accounts/email/ask/"),
    "confirm the address": confirm_address,
    "ask for a reset": page("/accounts/password_reset/", email="{name}@example.org"),
    "reset by the page": reset_page,
    "reset by the API": reset_api,
    "rename a client": page("/accounts/sign-ins/{sid}/name/", name="zz"),
    "end a client": page("/accounts/sign-ins/{sid}/end/"),
    "end the others": page("/accounts/sign-ins/end-others/"),
    "end all": page("/accounts/sign-ins/end-all/"),
    "not me": page("/accounts/activity/{event}/not-me/"),
    "connect a client": page("/accounts/clients/new/", name="zz"),
    "delete the account": page("/accounts/delete/", password=PASSWORD),
    "sign out": page("/accounts/logout/"),
    "sign in by the page": page_login,
    "wrong password": wrong_login,
    "sign in by the API": api_login,
    "refresh": token_call("/api/token/refresh/", "refresh", "refresh"),
    "blacklist": token_call("/api/token/blacklist/", "refresh", "refresh"),
    "revoke": revoke,
    "names by the API": api("PATCH", "/api/me/", first_name="zz"),
    "password change by the API": api(
        "POST", "/api/password/change/", old_password=PASSWORD, new_password=NEW_PASSWORD
    ),
    "confirm by the API": api("POST", "/api/password/confirm/", password=PASSWORD),
    "end by the API": api("DELETE", "/api/sign-ins/{sid}/"),
    "end the others by the API": api("POST", "/api/sign-ins/end-others/"),
    "end all by the API": api("POST", "/api/sign-ins/end-all/"),
    "the admin's form": admin_form,
    "end all by the admin": action(USERS, "end_all_sign_ins"),
    "deactivate by the admin": action(USERS, "deactivate"),
    "reset by the admin": action(USERS, "send_password_reset"),
    "unlock by the admin": action(USERS, "unlock"),
    "end by the admin": action(SIGN_INS, "end_selected"),
    "save()": django_save,
    "set_password(); save()": save_after_a_password,
    "update_or_create()": update_or_create,
    "bulk_update()": bulk_update,
    "save() of a sign-in": save_of_the_sign_in,
    "end_sign_ins --user": command("end_sign_ins", "--user", "{name}"),
    "end_sign_ins --all": command("end_sign_ins", "--all"),
    "prune": command("prune"),
}


class Held:
    """Runs `meanwhile` over another connection before one of the statements of this thread."""

    def __init__(self, position: int, meanwhile: Callable[[], None]) -> None:
        self.position, self.meanwhile = position, meanwhile
        self.statements = 0
        self.thread: threading.Thread | None = None

    def __call__(self, execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        # On SQLite a transaction holds the only lock, so no decision is possible before it ends.
        may_come_between = connection.vendor != "sqlite" or not connection.in_atomic_block
        if may_come_between:
            if self.statements == self.position:
                self.begin()
            self.statements += 1
        return execute(sql, params, many, context)

    def begin(self) -> None:
        def run() -> None:
            try:
                self.meanwhile()
            finally:
                connections.close_all()

        self.thread = threading.Thread(target=run)
        self.thread.start()
        # If this request has locked the row, the decision waits for it.
        self.thread.join(SECONDS_FOR_A_LOCK if connection.in_atomic_block else 10)

    @contextmanager
    def installed(self) -> Iterator[None]:
        with connection.execute_wrapper(self):
            yield
        if self.thread:
            self.thread.join(20)


@pytest.fixture
def staff_browser(transactional_db: None) -> Browser:
    User.objects.create_superuser("sue", "sue@example.org", PASSWORD)
    browser = Browser()
    browser.post("/accounts/login/", {"username": "sue", "password": PASSWORD})
    return browser


def hold(write: Write, staff: Browser, position: int, meanwhile: Callable[[World], None]) -> tuple[World, bool]:
    """Runs a write; returns its world, and whether the write had that many statements."""
    cache.clear()
    AttemptCounter.objects.all().delete()
    world = World(staff)
    send = write(world)
    held = Held(position, lambda: meanwhile(world))
    with held.installed():
        answer = send()
    assert getattr(answer, "status_code", 200) < 500, answer.content
    return world, held.thread is not None


def decided_for(world: World) -> dict[str, Any]:
    return DECIDED | {"email": f"decided-{world.name}@example.org"}


def decide(world: World) -> None:
    User.objects.filter(pk=world.ann.pk).update(**decided_for(world))


def delete(world: World) -> None:
    User.objects.filter(pk=world.ann.pk).delete()


def held_before_each_statement(write: Write, staff: Browser, meanwhile: Callable[[World], None]) -> Iterator[World]:
    for position in count():
        world, was_held = hold(write, staff, position, meanwhile)
        if not was_held:
            assert position, "it made no statement"
            return
        yield world


@pytest.mark.parametrize("name", WRITES)
def test_a_decision_during_a_write_stays_in_force(name: str, staff_browser: Browser) -> None:
    for position, world in enumerate(held_before_each_statement(WRITES[name], staff_browser, decide)):
        decided = decided_for(world)
        row = User.objects.filter(pk=world.ann.pk).values(*decided).first()
        # Only a deletion of the account may follow the decision.
        assert row == decided or (row is None and name == "delete the account"), f"before statement {position}"
        assert not SignIn.objects.filter(user=world.ann.pk).live().exists(), f"before statement {position}"


# update_or_create() creates another account of that name.
@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.named if number % 6 else ())
        for number, name in enumerate(sorted(WRITES.keys() - {"update_or_create()"}))
    ],
)
def test_an_account_deleted_during_a_write_stays_deleted(name: str, staff_browser: Browser) -> None:
    for position, world in enumerate(held_before_each_statement(WRITES[name], staff_browser, delete)):
        assert not User.objects.filter(username=world.name).exists(), f"before statement {position}"
        assert not SignIn.objects.filter(user=world.ann.pk).exists(), f"before statement {position}"
