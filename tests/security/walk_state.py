"""The state of the random walk: the expected credentials, and the requests that change them."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import urlencode

import time_machine
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from hypothesis import event
from hypothesis.stateful import (
    RuleBasedStateMachine,
)

from accounts.models import AttemptCounter, AuthenticatorApp, SignIn
from accounts.signals import session_keys_revoked
from api.blocklist.mirror import FRESH_FOR_SECONDS
from api.blocklist.models import Entry
from tests.api.test_bound_tokens import Holder
from tests.conftest import Browser, bearer, claims_of, send_mails
from tests.security.model import (
    BROWSER_IDLE,
    BROWSER_IDLE_KEPT,
    CLIENT_IDLE,
    PRECISION,
    Access,
    Cookie,
    Person,
    Refresh,
    Stay,
)

User = get_user_model()
WHO = "/compare/who/"
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)

# One client for all requests, since each new client loads the middleware again.
browser = Browser()
addresses = count(1)
numbers = count(1)


def send(method: str, path: str, data: Any = None, cookie: str = "", access: str = "", form: bool = False) -> Any:
    """Sends a request of a client or a browser, each from another address, so that no throttle applies."""
    number = next(addresses)
    browser.cookies.clear()
    headers = bearer(access) if access else {}
    if cookie:
        headers["Cookie"] = f"{settings.SESSION_COOKIE_NAME}={cookie}"
    body = urlencode(data or {}) if form else json.dumps(data or {})
    content_type = "application/x-www-form-urlencoded" if form else "application/json"
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return browser.generic(method, path, body, content_type, headers=headers, REMOTE_ADDR=address)


def key_in(response: Any) -> str:
    return response.cookies[settings.SESSION_COOKIE_NAME].value


def move_entries_of_triggers(**kwargs: Any) -> None:
    """Triggers use the clock of the database, which is not that of the walk: their entries would be expired."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT CURRENT_TIMESTAMP")
        [found] = cursor.fetchone()
    now = found if isinstance(found, datetime) else datetime.fromisoformat(found).replace(tzinfo=UTC)
    ahead = timezone.now() - now
    Entry.objects.filter(blocked_at__range=(now - MINUTE, now + MINUTE)).update(
        blocked_at=F("blocked_at") + ahead, until=F("until") + ahead
    )


class WalkState(RuleBasedStateMachine):
    """The expected state of every credential, and requests that keep it up to date."""

    # Increases from walk to walk, so that rows of an earlier walk are never in the future.
    today = timezone.now().replace(microsecond=0)

    def __init__(self) -> None:
        super().__init__()
        self.clock = time_machine.travel(WalkState.today, tick=False)
        self.traveller = self.clock.start()
        session_keys_revoked.connect(move_entries_of_triggers)
        self.people: list[Person] = []
        self.stays: list[Stay] = []
        self.cookies: list[Cookie] = []
        self.accesses: list[Access] = []
        self.refreshes: list[Refresh] = []

    def teardown(self) -> None:
        session_keys_revoked.disconnect(move_entries_of_triggers)
        send_mails()
        WalkState.today = self.now + SECOND
        self.clock.stop()

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def step(self, name: str) -> None:
        """Advances the clock, and counts the step for --hypothesis-show-statistics."""
        event(name)
        self.traveller.shift(1)

    def some(self, things: list[Any], number: int) -> Any:
        """Picks one of the things, more often a valid one."""
        good = [each for each in things if each.is_good(self.now)]
        pool = good if good and number % 4 else things
        return pool[number // 4 % len(pool)]

    @property
    def credentials(self) -> list[Any]:
        return [*self.cookies, *self.accesses]

    def of(self, person: Person) -> list[Stay]:
        return [stay for stay in self.stays if stay.person is person]

    def call(self, credential: Any, method: str, path: str, data: Any = None) -> Any:
        if isinstance(credential, Cookie):
            return send(method, path, data, cookie=credential.key)
        if credential.stay.holder:
            return credential.stay.holder.call(method, path, data, access=credential.token)
        return send(method, path, data, access=credential.token)

    def with_login(self, credential: Any, method: str, path: str, data: Any = None) -> Any:
        """Sends a request and returns the response, or None after asserting that an invalid credential gets 401."""
        is_in = credential.is_good(self.now)
        response = self.call(credential, method, path, data)
        assert (response.status_code == 401) is not is_in, (response.status_code, response.content)
        if is_in and isinstance(credential, Cookie):
            self.note_use(credential.stay)
        return response if is_in else None

    def note_use(self, stay: Stay) -> None:
        if self.now - stay.seen >= PRECISION:
            stay.use(self.now)

    def by_form(self, person: Person, keep: bool, cookie: str = "") -> bool:
        AttemptCounter.objects.all().delete()
        form = {"username": person.name, "password": person.password} | ({"keep": "on"} if keep else {})
        response = send("POST", "/accounts/login/", form, cookie, form=True)
        if not (person.is_active and person.exists):
            assert response.status_code == 200
            return False
        assert response.status_code == 302, response.content
        key = key_in(response)
        if person.app:
            assert send("GET", WHO, cookie=key).status_code == 401
            code = {"code": self.code_of(person)}
            response = send("POST", response.headers["Location"], code, key, form=True)
            assert response.status_code == 302, response.content
            key = key_in(response)
        assert key not in {each.key for each in self.cookies}
        sid = send("GET", WHO, cookie=key).json()["sid"]
        stay = Stay(person, sid, self.now, BROWSER_IDLE_KEPT if keep else BROWSER_IDLE, level=2 if person.app else 1)
        self.stays.append(stay)
        self.cookies.append(Cookie(stay, key))
        return True

    def by_program(self, whose: Person, algorithm: str) -> None:
        AttemptCounter.objects.all().delete()
        holder = Holder(algorithm) if algorithm else None
        credentials = {"username": whose.name, "password": whose.password}
        if whose.app and whose.is_active and whose.exists:
            assert send("POST", "/api/token/", credentials).status_code == 403
            credentials["code"] = self.code_of(whose)
        if holder:
            response = holder.call("POST", "/api/token/", credentials, access="")
        else:
            response = send("POST", "/api/token/", credentials)
        if not (whose.is_active and whose.exists):
            assert response.status_code == 401
            return
        assert response.status_code == 200, response.content
        level = 2 if whose.app else 1
        self.take_pair(response.json(), Stay(whose, "", self.now, CLIENT_IDLE, holder, level=level))

    def code_of(self, person: Person) -> str:
        """Returns a valid code of the person's app, as if it had not been used."""
        AttemptCounter.objects.all().delete()
        AuthenticatorApp.objects.filter(user=person.id).update(last_used_step=0)
        code: str = person.app.code()
        return code

    def take_pair(self, pair: dict[str, str], stay: Stay) -> str:
        """Stores a pair of tokens and returns the id of the refresh token."""
        claims = claims_of(pair["refresh"])
        if stay not in self.stays:
            stay.sid = claims["sid"]
            self.stays.append(stay)
        assert claims["sid"] == stay.sid
        assert claims["sub"] == str(stay.person.id)
        self.accesses.append(Access(stay, pair["access"], self.now))
        if all(each.token != pair["refresh"] for each in self.refreshes):
            self.refreshes.append(Refresh(stay, pair["refresh"], claims["jti"], stay.expires))
        return claims["jti"]

    def show_refresh(self, shown: Refresh) -> None:
        stay, now = shown.stay, self.now
        is_good = shown.is_good(now)
        data = {"refresh": shown.token}
        if stay.holder:
            response = stay.holder.call("POST", "/api/token/refresh/", data, access="")
        else:
            response = send("POST", "/api/token/refresh/", data)
        assert response.status_code == (200 if is_good else 401), response.content
        if is_good:
            self.rotated(shown, response.json())
        elif shown.is_genuine(now) and stay.is_good(now) and not stay.is_revoked:
            # Spent before: reuse.
            stay.over = True

    def rotated(self, shown: Refresh, pair: dict[str, str]) -> None:
        family = [each for each in self.refreshes if each.stay is shown.stay]
        if shown.rotated is not None:
            current = next(each for each in family if each.rotated is None)
            assert self.take_pair(pair, shown.stay) == current.jti
            return
        for each in family:
            each.is_predecessor = each is shown
        shown.rotated = self.now
        shown.stay.use(self.now)
        successor = self.take_pair(pair, shown.stay)
        assert successor not in {each.jti for each in family}

    def has_row(self, stay: Stay) -> bool:
        return SignIn.objects.filter(pk=stay.sid).exists()

    def end(self, stays: Any) -> None:
        for stay in stays:
            stay.over = True

    def prove(self, by: Any) -> None:
        AttemptCounter.objects.all().delete()
        person = by.stay.person
        proof = {"code": self.code_of(person)} if person.app else {"password": person.password}
        if response := self.with_login(by, "POST", "/api/reauthenticate/", proof):
            assert response.status_code == 204, response.content
            by.stay.prove(self.now, 2 if person.app else 1)
            self.note_new_key(by, response)

    def current(self, by: Any) -> Any:
        """The credential that replaced a cookie whose session got a new key; the credential itself otherwise."""
        if isinstance(by, Cookie) and by.is_replaced:
            return next(each for each in reversed(self.cookies) if each.stay is by.stay)
        return by

    def note_new_key(self, by: Any, response: Any) -> None:
        """A browser gets a new session key with a proof."""
        if isinstance(by, Cookie):
            by.is_replaced = True
            self.cookies.append(Cookie(by.stay, key_in(response)))

    def has_new_password(self, person: Person, new: str, keep: Stay | None = None) -> None:
        person.old_passwords.append(person.password)
        person.password = new
        self.end(each for each in self.of(person) if each is not keep)

    @contextmanager
    def raw_sql(self) -> Iterator[Any]:
        """Returns a cursor. Its changes are committed, and seen by this process, at the exit."""
        with transaction.atomic(), connection.cursor() as cursor:
            yield cursor
            if connection.vendor == "postgresql":
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            move_entries_of_triggers()
        if settings.REDIS_URL:
            time.sleep(FRESH_FOR_SECONDS)

    def store(self, user: Any, way: str, field: str) -> None:
        if way == "save":
            user.save()
        elif way == "bulk_update":
            User.objects.bulk_update([user], [field])
        else:
            manager = User._base_manager if way == "base manager" else User.objects
            manager.filter(pk=user.pk).update(**{field: getattr(user, field)})
