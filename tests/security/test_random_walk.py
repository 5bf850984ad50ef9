"""
A long random walk over all that lets people in and puts them out, in both modes. After every step each cookie, access
token and refresh token that was ever given out is tried: nobody who should be out is in, and nobody who should be in is
out.

In the suite it walks for some seconds. To walk on: HYPOTHESIS_EFFORT=100 pytest tests/security/test_random_walk.py
--hypothesis-seed=random --timeout=0, with --distributed and without.
"""

import json
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connections
from django.urls import reverse
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django_redis import get_redis_connection
from hypothesis import HealthCheck, event
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts import ending, links, mail
from accounts.models import AttemptCounter, SignIn
from api.blocklist.mirror import mirror
from api.tokens import AccessToken
from tests.api.test_bound_tokens import Holder
from tests.conftest import Browser, bearer, claims_of
from tests.security import examples
from tests.security.model import (
    BROWSER_IDLE,
    BROWSER_IDLE_KEPT,
    CLIENT_IDLE,
    PRECISION,
    RECENT,
    Access,
    Cookie,
    Person,
    Refresh,
    Stay,
)

User = get_user_model()
WHO = "/compare/who/"
SECOND = timedelta(seconds=1)
# The long ones seldom: after them hardly anybody is in.
WAITS = [
    *[timedelta(seconds=seconds) for seconds in (1, 5, 9, 10)],
    *[timedelta(minutes=minutes) for minutes in (4, 5, 6, 16)],
    *[timedelta(hours=hours) for hours in (1, 23, 25)],
    *[timedelta(days=days) for days in (13, 17)],
]
WAYS = st.sampled_from(["save", "update", "bulk_update", "base manager"])

# One for all: each new one would load the middleware once more.
browser = Browser()
addresses = count(1)
numbers = count(1)
pick = st.integers(0, 10_000)


def send(method: str, path: str, data: Any = None, cookie: str = "", access: str = "", form: bool = False) -> Any:
    """One request of a program or a browser, each from an address of its own, so that no throttle has a say."""
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


def some_are_in(walk: "Walk") -> bool:
    return len({each.stay for each in walk.credentials if each.is_good(walk.now)}) > 1


class Walk(RuleBasedStateMachine):
    # Goes on from walk to walk: rows of an earlier one are never in the future.
    today = timezone.now().replace(microsecond=0)

    def __init__(self) -> None:
        super().__init__()
        self.clock = time_machine.travel(Walk.today, tick=False)
        self.traveller = self.clock.start()
        self.people: list[Person] = []
        self.stays: list[Stay] = []
        self.cookies: list[Cookie] = []
        self.accesses: list[Access] = []
        self.refreshes: list[Refresh] = []

    def teardown(self) -> None:
        mail.wait()
        Walk.today = self.now + SECOND
        self.clock.stop()

    # What is at hand

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def step(self, name: str) -> None:
        """So that no two things happen at the same moment; --hypothesis-show-statistics tells how often each does."""
        event(name)
        self.traveller.shift(1)

    def some(self, things: list[Any], number: int) -> Any:
        """Rather one that is good."""
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
        """The answer, if somebody is in who calls; who is out, is told so."""
        is_in = credential.is_good(self.now)
        response = self.call(credential, method, path, data)
        assert (response.status_code == 401) is not is_in, (response.status_code, response.content)
        if is_in and isinstance(credential, Cookie):
            self.note_use(credential.stay)
        return response if is_in else None

    def note_use(self, stay: Stay) -> None:
        if self.now - stay.seen >= PRECISION:
            stay.use(self.now)

    # Coming in

    @initialize()
    def two_people(self) -> None:
        for _ in range(2):
            name = f"walker{next(numbers)}"
            password = f"first passphrase of {name}"
            user = User.objects.create_user(name, f"{name}@example.org", password, email_confirmed_at=timezone.now())
            self.people.append(Person(user.pk, name, password))
            self.by_form(self.people[-1], keep=False)
            self.by_program(self.people[-1], "")

    @rule(person=pick, keep=st.booleans())
    def sign_in_a_browser(self, person: int, keep: bool) -> None:
        self.step("sign in a browser")
        self.by_form(self.people[person % 2], keep)

    @rule(cookie=pick, person=pick)
    def sign_in_in_the_same_browser(self, cookie: int, person: int) -> None:
        self.step("sign in in the same browser")
        held = self.some(self.cookies, cookie)
        if self.by_form(self.people[person % 2], False, held.key) and held.is_good(self.now):
            held.stay.over = True

    def by_form(self, person: Person, keep: bool, cookie: str = "") -> bool:
        AttemptCounter.objects.all().delete()
        form = {"username": person.name, "password": person.password} | ({"keep": "on"} if keep else {})
        response = send("POST", "/accounts/login/", form, cookie, form=True)
        if not (person.is_active and person.exists):
            assert response.status_code == 200
            return False
        assert response.status_code == 302, response.content
        key = key_in(response)
        assert key not in {each.key for each in self.cookies}
        sid = send("GET", WHO, cookie=key).json()["sid"]
        stay = Stay(person, sid, self.now, BROWSER_IDLE_KEPT if keep else BROWSER_IDLE)
        self.stays.append(stay)
        self.cookies.append(Cookie(stay, key))
        return True

    @rule(person=pick, algorithm=st.sampled_from(["", "", "ES256", "EdDSA"]))
    def sign_in_a_client(self, person: int, algorithm: str) -> None:
        self.step("sign in a client")
        self.by_program(self.people[person % 2], algorithm)

    def by_program(self, whose: Person, algorithm: str) -> None:
        AttemptCounter.objects.all().delete()
        holder = Holder(algorithm) if algorithm else None
        credentials = {"username": whose.name, "password": whose.password}
        if holder:
            response = holder.call("POST", "/api/token/", credentials, access="")
        else:
            response = send("POST", "/api/token/", credentials)
        if not (whose.is_active and whose.exists):
            assert response.status_code == 401
            return
        assert response.status_code == 200, response.content
        self.take_pair(response.json(), Stay(whose, "", self.now, CLIENT_IDLE, holder))

    def take_pair(self, pair: dict[str, str], stay: Stay) -> str:
        """The id of the refresh token."""
        told = claims_of(pair["refresh"])
        if stay not in self.stays:
            stay.sid = told["sid"]
            self.stays.append(stay)
        assert told["sid"] == stay.sid
        assert told["sub"] == str(stay.person.id)
        self.accesses.append(Access(stay, pair["access"], self.now))
        if all(each.token != pair["refresh"] for each in self.refreshes):
            self.refreshes.append(Refresh(stay, pair["refresh"], told["jti"], stay.expires))
        return told["jti"]

    @precondition(lambda self: any(person.old_passwords for person in self.people))
    @rule(person=pick)
    def try_an_old_password(self, person: int) -> None:
        self.step("try an old password")
        AttemptCounter.objects.all().delete()
        whose = self.people[person % 2]
        for old in whose.old_passwords[-1:]:
            credentials = {"username": whose.name, "password": old}
            assert send("POST", "/api/token/", credentials).status_code == 401
            assert send("POST", "/accounts/login/", credentials, form=True).status_code == 200

    # Refreshing

    @rule(refresh=pick, waits=st.lists(st.sampled_from([1, 5, 9, 10, 11]), max_size=3))
    def refresh(self, refresh: int, waits: list[int]) -> None:
        """And with the same token once more, and again: a retry, or theft."""
        self.step("refresh")
        shown = self.some(self.refreshes, refresh)
        self.show_refresh(shown)
        for wait in waits:
            self.traveller.shift(wait)
            self.show_refresh(shown)

    @rule(refresh=pick)
    def refresh_with_any(self, refresh: int) -> None:
        """Parents, grandparents, and those of families that are over."""
        self.step("refresh with any")
        self.show_refresh(self.refreshes[refresh % len(self.refreshes)])

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
        elif shown.is_genuine(now) and stay.is_good(now) and not stay.is_shut_out:
            # Used up before: somebody else has it too.
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

    @precondition(lambda self: any(each.stay.holder for each in self.refreshes))
    @rule(refresh=pick)
    def steal_a_bound_refresh_token(self, refresh: int) -> None:
        self.step("steal a bound refresh token")
        bound = [each for each in self.refreshes if each.stay.holder]
        stolen = bound[refresh % len(bound)]
        data = {"refresh": stolen.token}
        assert send("POST", "/api/token/refresh/", data).status_code in (400, 401)
        assert Holder().call("POST", "/api/token/refresh/", data, access="").status_code in (400, 401)

    # Going out

    @precondition(some_are_in)
    @rule(credential=pick, stay=pick)
    def end_one(self, credential: int, stay: int) -> None:
        self.step("end one")
        by, target = self.some(self.credentials, credential), self.some(self.stays, stay)
        response = self.with_login(by, "DELETE", f"/api/sign-ins/{target.sid}/")
        if response is None:
            return
        own = target.person.id == by.stay.person.id
        assert response.status_code == (204 if own and self.has_row(target) else 404), response.content
        target.over = target.over or own

    def has_row(self, stay: Stay) -> bool:
        return SignIn.objects.filter(pk=stay.sid).exists()

    @precondition(some_are_in)
    @rule(credential=pick, prove=st.booleans())
    def end_the_others(self, credential: int, prove: bool) -> None:
        self.step("end the others")
        by = self.some(self.credentials, credential)
        if prove:
            self.prove(by)
        is_proved = self.now - by.stay.proved < RECENT
        response = self.with_login(by, "POST", "/api/sign-ins/end-others/")
        if response is None:
            return
        assert response.status_code == (200 if is_proved else 403), response.content
        if is_proved:
            self.end(each for each in self.of(by.stay.person) if each is not by.stay)

    @precondition(some_are_in)
    @rule(credential=pick)
    def end_all(self, credential: int) -> None:
        self.step("end all")
        by = self.some(self.credentials, credential)
        if self.with_login(by, "POST", "/api/sign-ins/end-all/"):
            self.end(self.of(by.stay.person))

    def end(self, stays: Any) -> None:
        for stay in stays:
            stay.over = True

    def prove(self, by: Any) -> None:
        AttemptCounter.objects.all().delete()
        if response := self.with_login(by, "POST", "/api/password/confirm/", {"password": by.stay.person.password}):
            assert response.status_code == 204, response.content
            by.stay.proved = self.now
            if isinstance(by, Cookie):
                by.is_replaced = True
                self.cookies.append(Cookie(by.stay, key_in(response)))

    @precondition(some_are_in)
    @rule(cookie=pick)
    def sign_out(self, cookie: int) -> None:
        self.step("sign out")
        by = self.some(self.cookies, cookie)
        assert send("POST", "/accounts/logout/", cookie=by.key, form=True).status_code == 200
        if by.is_good(self.now):
            by.stay.over = True

    @precondition(some_are_in)
    @rule(access=pick)
    def block_an_access_token(self, access: int) -> None:
        self.step("block an access token")
        target = self.some(self.accesses, access)
        assert send("POST", "/api/token/revoke/", {"token": target.token}, form=True).status_code == 200
        target.is_blocked = True

    @precondition(some_are_in)
    @rule(refresh=pick, door=st.sampled_from(["revoke", "blacklist"]))
    def revoke_a_refresh_token(self, refresh: int, door: str) -> None:
        self.step("revoke a refresh token")
        target = self.some(self.refreshes, refresh)
        field = "token" if door == "revoke" else "refresh"
        response = send("POST", f"/api/token/{door}/", {field: target.token}, form=door == "revoke")
        ends = target.is_genuine(self.now) and not target.stay.over and not target.stay.is_shut_out
        assert response.status_code == (200 if ends or door == "revoke" else 401), response.content
        target.stay.over = target.stay.over or ends

    # Passwords

    @precondition(some_are_in)
    @rule(credential=pick, on_page=st.booleans())
    def change_the_password(self, credential: int, on_page: bool) -> None:
        self.step("change the password")
        AttemptCounter.objects.all().delete()
        by = self.some(self.credentials, credential)
        person, new = by.stay.person, f"passphrase number {next(numbers)}"
        if isinstance(by, Cookie) and on_page:
            form = {"old_password": person.password, "new_password1": new, "new_password2": new}
            response = send("POST", "/accounts/password_change/", form, by.key, form=True)
            assert response.status_code == 302, response.content
            if not by.is_good(self.now):
                assert "login" in response.headers["Location"]
                return
            self.note_use(by.stay)
        else:
            data = {"old_password": person.password, "new_password": new}
            response = self.with_login(by, "POST", "/api/password/change/", data)
            if response is None:
                return
            assert response.status_code == 204, response.content
        self.has_new_password(person, new, keep=by.stay)
        by.stay.proved = self.now
        if isinstance(by, Cookie):
            by.is_replaced = True
            self.cookies.append(Cookie(by.stay, key_in(response)))

    def has_new_password(self, person: Person, new: str, keep: Stay | None = None) -> None:
        person.old_passwords.append(person.password)
        person.password = new
        self.end(each for each in self.of(person) if each is not keep)

    @precondition(some_are_in)
    @rule(person=pick, on_page=st.booleans())
    def reset_the_password(self, person: int, on_page: bool) -> None:
        self.step("reset the password")
        whose, new = self.people[person % 2], f"passphrase number {next(numbers)}"
        if not whose.exists:
            return
        user = User.objects.get(pk=whose.id)
        uid, token = urlsafe_base64_encode(force_bytes(user.pk)), links.password_reset.make_token(user)
        for works in (whose.is_active, False):
            # The second time it is used up.
            if on_page:
                form = {"new_password1": new, "new_password2": new}
                response = send("POST", reverse("password_reset_confirm", args=[uid, token]), form, form=True)
                assert response.status_code == (302 if works else 400)
            else:
                data = {"uid": uid, "token": token, "new_password": new}
                response = send("POST", "/api/password/reset/confirm/", data)
                assert response.status_code == (204 if works else 400)
            if works:
                self.has_new_password(whose, new)

    # Accounts, by their owners and by staff

    @precondition(some_are_in)
    @rule(person=pick, way=WAYS)
    def deactivate(self, person: int, way: str) -> None:
        self.step("deactivate")
        whose = self.people[person % 2]
        if whose.exists and whose.is_active:
            user = User.objects.get(pk=whose.id)
            user.is_active = whose.is_active = False
            self.store(user, way, "is_active")
            self.end(self.of(whose))

    @precondition(some_are_in)
    @rule(person=pick, way=WAYS)
    def staff_give_a_password(self, person: int, way: str) -> None:
        self.step("staff give a password")
        whose, new = self.people[person % 2], f"passphrase number {next(numbers)}"
        if whose.exists:
            user = User.objects.get(pk=whose.id)
            user.set_password(new)
            self.store(user, way, "password")
            self.has_new_password(whose, new)

    def store(self, user: Any, way: str, field: str) -> None:
        if way == "save":
            user.save()
        elif way == "bulk_update":
            User.objects.bulk_update([user], [field])
        else:
            manager = User._base_manager if way == "base manager" else User.objects
            manager.filter(pk=user.pk).update(**{field: getattr(user, field)})

    @precondition(some_are_in)
    @rule(cookie=pick, way=st.sampled_from(["page", "instance", "queryset"]))
    def delete(self, cookie: int, way: str) -> None:
        self.step("delete")
        AttemptCounter.objects.all().delete()
        by = self.some(self.cookies, cookie)
        whose, is_in = by.stay.person, by.is_good(self.now)
        if way == "page":
            response = send("POST", "/accounts/delete/", {"password": whose.password}, by.key, form=True)
            assert response.status_code == (200 if is_in else 302)
            if not is_in:
                return
        elif way == "instance" and whose.exists:
            User.objects.get(pk=whose.id).delete()
        else:
            User.objects.filter(pk=whose.id).delete()
        whose.exists = False
        self.end(self.of(whose))

    @precondition(lambda self: not all(person.exists and person.is_active for person in self.people))
    @rule(way=WAYS)
    def come_back(self, way: str) -> None:
        """Reactivated; or somebody else, who has the name and the id of an account that was deleted."""
        self.step("come back")
        for person in self.people:
            user = User.objects.filter(pk=person.id).first()
            if user is None:
                user = User(pk=person.id, username=person.name, email=f"{person.name}@example.org")
                user.email_confirmed_at = timezone.now()
                user.set_password(person.password)
                user.save(force_insert=True)
            elif not user.is_active:
                user.is_active = True
                self.store(user, way, "is_active")
            person.exists = person.is_active = True

    @precondition(some_are_in)
    @rule(stay=pick, way=st.sampled_from(["instance", "queryset", "save", "update", "delete", "delete rows"]))
    def staff_end_one(self, stay: int, way: str) -> None:
        self.step("staff end one")
        target = self.some(self.stays, stay)
        rows = SignIn.objects.filter(pk=target.sid)
        row = rows.first()
        if row is None:
            return
        if way == "instance":
            row.end(SignIn.Reason.ENDED_BY_STAFF)
        elif way == "queryset":
            rows.end(SignIn.Reason.ENDED_BY_STAFF)
        elif way == "save":
            row.ended_at = timezone.now()
            row.save(update_fields=["ended_at"])
        elif way == "update":
            rows.update(ended_at=timezone.now())
        elif way == "delete":
            row.delete()
        else:
            rows.delete()
        target.over = True

    @precondition(some_are_in)
    @rule(person=pick, of_everybody=st.booleans(), to_the_end=st.booleans())
    def staff_end_many(self, person: int, of_everybody: bool, to_the_end: bool) -> None:
        """Who ends everybody's may stop after the first step: by then nobody is in."""
        self.step("staff end many")
        whose = self.people[person % 2]
        if of_everybody:
            steps = ending.end_everything(SignIn.Reason.ENDED_BY_STAFF)
            next(steps, None)
            for stay in self.stays:
                stay.is_shut_out = True
            if to_the_end:
                list(steps)
                self.end(self.stays)
        elif whose.exists:
            list(ending.end_all_in_batches(User.objects.get(pk=whose.id), SignIn.Reason.ENDED_BY_STAFF))
            self.end(self.of(whose))

    # What puts nobody out, and lets nobody in

    @rule(wait=st.sampled_from(WAITS))
    def wait(self, wait: timedelta) -> None:
        self.step("wait")
        self.traveller.shift(wait)

    @rule(person=pick, what=st.sampled_from(["prune", "restart", "first_name", "last_login", "is_staff"]))
    def nothing_happens(self, person: int, what: str) -> None:
        """Old rows go; the process, and Redis, forget all they knew; another field changes."""
        self.step("nothing happens")
        if what == "prune":
            call_command("prune", verbosity=0)
            self.end(stay for stay in self.stays if stay.is_shut_out)
            kept = set(User.objects.filter(pk__in=[each.id for each in self.people]).values_list("pk", flat=True))
            assert kept == {each.id for each in self.people if each.exists}
        elif what == "restart":
            if settings.REDIS_URL:
                get_redis_connection("default").flushall()
            mirror.__init__()
            AccessToken._token_backend._clear_cache()
        else:
            values = {"first_name": "Zoe", "last_login": self.now, "is_staff": person % 4 > 1}
            User.objects.filter(pk=self.people[person % 2].id).update(**{what: values[what]})

    @invariant()
    def whoever_should_be_in_is_in_and_nobody_else(self) -> None:
        for cookie in self.cookies:
            self.judge(cookie, self.call(cookie, "GET", WHO), mode="wristband")
            if cookie.is_good(self.now):
                self.note_use(cookie.stay)
        for access in self.accesses:
            self.judge(access, self.call(access, "GET", WHO), mode="passport")
            if access.stay.holder:
                assert send("GET", WHO, access=access.token).status_code == 401
        for refresh in self.refreshes:
            status = send("POST", "/api/token/verify/", {"token": refresh.token}).status_code
            assert status == (200 if refresh.is_good(self.now) else 401), (status, refresh)
        listed = SignIn.objects.filter(user__in=[person.id for person in self.people]).live()
        assert {str(sid) for sid in listed.values_list("pk", flat=True)} == {
            stay.sid for stay in self.stays if stay.is_good(self.now)
        }

    def judge(self, credential: Any, response: Any, mode: str) -> None:
        is_good = credential.is_good(self.now)
        assert response.status_code == (200 if is_good else 401), (response.status_code, response.content, credential)
        if is_good:
            stay = credential.stay
            assert response.json() == {"id": stay.person.id, "mode": mode, "sid": stay.sid}


@pytest.fixture
def no_connection_is_left(transactional_db):
    """The thread that sends mail reads what a letter needs, on a connection of its own."""
    yield
    mail._postman.submit(connections.close_all).result()


@pytest.mark.usefixtures("no_connection_is_left")
def test_every_credential_works_exactly_as_the_model_expects():
    run_state_machine_as_test(
        Walk,
        settings=hypothesis_settings(
            max_examples=examples(10),
            stateful_step_count=25,
            suppress_health_check=list(HealthCheck),
        ),
    )
