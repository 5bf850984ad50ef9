"""The rules of the random walk, grouped by subject."""

from datetime import timedelta

from django.conf import settings
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django_redis import get_redis_connection
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
)

from accounts import ending, links
from accounts.factors import removals
from accounts.models import AttemptCounter, SignIn
from api.blocklist.mirror import mirror
from api.tokens import AccessToken
from tests.api.test_bound_tokens import Holder
from tests.second_factors import App
from tests.security.model import Cookie, Person
from tests.security.walk_state import User, WalkState, numbers, send

# Few long waits, since after them few sign-ins are live.
WAITS = [
    *[timedelta(seconds=seconds) for seconds in (1, 5, 9, 10)],
    *[timedelta(minutes=minutes) for minutes in (4, 5, 6, 16)],
    *[timedelta(hours=hours) for hours in (1, 23, 25)],
    *[timedelta(days=days) for days in (13, 17)],
]
WAYS = st.sampled_from(["save", "update", "bulk_update", "base manager"])
pick = st.integers(0, 10_000)


def has_live_sign_ins(walk: WalkState) -> bool:
    return len({each.stay for each in walk.credentials if each.is_good(walk.now)}) > 1


class SignInRules(WalkState):
    """Sign-ins of browsers and clients."""

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

    @rule(person=pick, algorithm=st.sampled_from(["", "", "ES256", "EdDSA"]))
    def sign_in_a_client(self, person: int, algorithm: str) -> None:
        self.step("sign in a client")
        self.by_program(self.people[person % 2], algorithm)

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


class RefreshRules(WalkState):
    """Refreshes: rotations, retries, reuse, and stolen tokens."""

    @rule(refresh=pick, waits=st.lists(st.sampled_from([1, 5, 9, 10, 11]), max_size=3))
    def refresh(self, refresh: int, waits: list[int]) -> None:
        """A refresh, and more with the same token: retries or reuse."""
        self.step("refresh")
        shown = self.some(self.refreshes, refresh)
        self.show_refresh(shown)
        for wait in waits:
            self.traveller.shift(wait)
            self.show_refresh(shown)

    @rule(refresh=pick)
    def refresh_with_any(self, refresh: int) -> None:
        """Any token: predecessors, older ones, and those of ended families."""
        self.step("refresh with any")
        self.show_refresh(self.refreshes[refresh % len(self.refreshes)])

    @precondition(lambda self: any(each.stay.holder for each in self.refreshes))
    @rule(refresh=pick)
    def steal_a_bound_refresh_token(self, refresh: int) -> None:
        self.step("steal a bound refresh token")
        bound = [each for each in self.refreshes if each.stay.holder]
        stolen = bound[refresh % len(bound)]
        data = {"refresh": stolen.token}
        assert send("POST", "/api/token/refresh/", data).status_code in (400, 401)
        assert Holder().call("POST", "/api/token/refresh/", data, access="").status_code in (400, 401)


class EndRules(WalkState):
    """Ends of sign-ins and blocks of tokens by their user."""

    @precondition(has_live_sign_ins)
    @rule(credential=pick, stay=pick, prove=st.booleans())
    def end_one(self, credential: int, stay: int, prove: bool) -> None:
        self.step("end one")
        by, target = self.some(self.credentials, credential), self.some(self.stays, stay)
        if prove:
            self.prove(by)
            by = self.current(by)
        is_proved = by.stay.is_proved(self.now)
        response = self.with_login(by, "DELETE", f"/api/sign-ins/{target.sid}/")
        if response is None:
            return
        if not is_proved:
            assert response.status_code == 403, response.content
            return
        own = target.person.id == by.stay.person.id
        assert response.status_code == (204 if own and self.has_row(target) else 404), response.content
        target.over = target.over or own

    @precondition(has_live_sign_ins)
    @rule(credential=pick, prove=st.booleans())
    def end_the_others(self, credential: int, prove: bool) -> None:
        self.step("end the others")
        by = self.some(self.credentials, credential)
        if prove:
            self.prove(by)
            by = self.current(by)
        is_proved = by.stay.is_proved(self.now)
        response = self.with_login(by, "POST", "/api/sign-ins/end-others/")
        if response is None:
            return
        assert response.status_code == (200 if is_proved else 403), response.content
        if is_proved:
            self.end(each for each in self.of(by.stay.person) if each is not by.stay)

    @precondition(has_live_sign_ins)
    @rule(cookie=pick)
    def confirm_the_password(self, cookie: int) -> None:
        """Replaces the key of a browser. The invariant then tries the old key."""
        self.step("confirm the password")
        self.prove(self.some(self.cookies, cookie))

    @precondition(has_live_sign_ins)
    @rule(credential=pick, prove=st.booleans())
    def end_all(self, credential: int, prove: bool) -> None:
        self.step("end all")
        by = self.some(self.credentials, credential)
        if prove:
            self.prove(by)
            by = self.current(by)
        is_proved = by.stay.is_proved(self.now)
        response = self.with_login(by, "POST", "/api/sign-ins/end-all/")
        if response is None:
            return
        assert response.status_code == (200 if is_proved else 403), response.content
        if is_proved:
            self.end(self.of(by.stay.person))

    @precondition(has_live_sign_ins)
    @rule(cookie=pick)
    def sign_out(self, cookie: int) -> None:
        self.step("sign out")
        by = self.some(self.cookies, cookie)
        assert send("POST", "/accounts/logout/", cookie=by.key, form=True).status_code == 200
        if by.is_good(self.now):
            by.stay.over = True

    @precondition(has_live_sign_ins)
    @rule(access=pick)
    def block_an_access_token(self, access: int) -> None:
        self.step("block an access token")
        target = self.some(self.accesses, access)
        assert send("POST", "/api/token/revoke/", {"token": target.token}, form=True).status_code == 200
        target.is_blocked = True

    @precondition(has_live_sign_ins)
    @rule(refresh=pick, door=st.sampled_from(["revoke", "blacklist"]))
    def revoke_a_refresh_token(self, refresh: int, door: str) -> None:
        self.step("revoke a refresh token")
        target = self.some(self.refreshes, refresh)
        field = "token" if door == "revoke" else "refresh"
        response = send("POST", f"/api/token/{door}/", {field: target.token}, form=door == "revoke")
        ends = target.is_genuine(self.now) and not target.stay.over and not target.stay.is_revoked
        assert response.status_code == (200 if ends or door == "revoke" else 401), response.content
        target.stay.over = target.stay.over or ends


class PasswordRules(WalkState):
    """Changes and resets of a password."""

    @precondition(has_live_sign_ins)
    @rule(credential=pick, on_page=st.booleans())
    def change_the_password(self, credential: int, on_page: bool) -> None:
        self.step("change the password")
        AttemptCounter.objects.all().delete()
        by = self.some(self.credentials, credential)
        person, new = by.stay.person, f"passphrase number {next(numbers)}"
        if isinstance(by, Cookie) and on_page:
            form = {"old_password": person.password, "new_password1": new}
            response = send("POST", "/accounts/password_change/", form, by.key, form=True)
            assert response.status_code == 302, response.content
            if not by.is_good(self.now):
                assert "login" in response.headers["Location"]
                return
            if person.app and not by.stay.is_proved(self.now):
                assert "confirm" in response.headers["Location"]
                self.note_use(by.stay)
                return
            self.note_use(by.stay)
        else:
            data = {"old_password": person.password, "new_password": new}
            is_proved = not person.app or by.stay.is_proved(self.now)
            response = self.with_login(by, "POST", "/api/password/change/", data)
            if response is None:
                return
            assert response.status_code == (204 if is_proved else 403), response.content
            if not is_proved:
                return
        self.has_new_password(person, new, keep=by.stay)
        by.stay.prove(self.now, 1)
        self.note_new_key(by, response)

    @precondition(has_live_sign_ins)
    @rule(person=pick, on_page=st.booleans())
    def reset_the_password(self, person: int, on_page: bool) -> None:
        self.step("reset the password")
        whose, new = self.people[person % 2], f"passphrase number {next(numbers)}"
        if not whose.exists:
            return
        user = User.objects.get(pk=whose.id)
        uid, token = urlsafe_base64_encode(force_bytes(user.pk)), links.password_reset.make_token(user)
        for works in (whose.is_active, False):
            # The second time the link is spent.
            if on_page:
                form = {"new_password1": new}
                response = send("POST", reverse("password_reset_confirm", args=[uid, token]), form, form=True)
                assert response.status_code == (302 if works else 400)
            else:
                data = {"uid": uid, "token": token, "new_password": new}
                response = send("POST", "/api/password/reset/confirm/", data)
                assert response.status_code == (204 if works else 400)
            if works:
                self.has_new_password(whose, new)

    @precondition(has_live_sign_ins)
    @rule(person=pick, way=WAYS)
    def staff_give_a_password(self, person: int, way: str) -> None:
        self.step("staff give a password")
        whose, new = self.people[person % 2], f"passphrase number {next(numbers)}"
        if whose.exists:
            user = User.objects.get(pk=whose.id)
            user.set_password(new)
            self.store(user, way, "password")
            self.has_new_password(whose, new)


class AccountRules(WalkState):
    """Changes of accounts, by users and by staff."""

    @precondition(has_live_sign_ins)
    @rule(person=pick, way=WAYS)
    def deactivate(self, person: int, way: str) -> None:
        self.step("deactivate")
        whose = self.people[person % 2]
        if whose.exists and whose.is_active:
            user = User.objects.get(pk=whose.id)
            user.is_active = whose.is_active = False
            self.store(user, way, "is_active")
            self.end(self.of(whose))

    @precondition(has_live_sign_ins)
    @rule(cookie=pick, way=st.sampled_from(["page", "instance", "queryset"]))
    def delete(self, cookie: int, way: str) -> None:
        self.step("delete")
        AttemptCounter.objects.all().delete()
        by = self.some(self.cookies, cookie)
        whose, is_in = by.stay.person, by.is_good(self.now)
        if way == "page":
            may_delete = is_in and (not whose.app or by.stay.is_proved(self.now))
            response = send("POST", "/accounts/delete/", {"password": whose.password}, by.key, form=True)
            assert response.status_code == (200 if may_delete else 302)
            if is_in:
                self.note_use(by.stay)
            if not may_delete:
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
        """Reactivates users, or creates other users with the name and id of a deleted account."""
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


class StaffRules(WalkState):
    """Ends of sign-ins by staff."""

    @precondition(has_live_sign_ins)
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
        elif way == "save" and row.ended_at is None:
            # After the end, a change of it raises ValueError.
            row.ended_at = timezone.now()
            row.save(update_fields=["ended_at"])
        elif way == "save":
            return
        elif way == "update":
            rows.update(ended_at=timezone.now())
        elif way == "delete":
            row.delete()
        else:
            rows.delete()
        target.over = True

    @precondition(has_live_sign_ins)
    @rule(person=pick, of_all_users=st.booleans(), to_the_end=st.booleans())
    def staff_end_many(self, person: int, of_all_users: bool, to_the_end: bool) -> None:
        """A wholesale end may stop after its first step, which already refuses every credential."""
        self.step("staff end many")
        whose = self.people[person % 2]
        if of_all_users:
            steps = ending.end_everything(SignIn.Reason.ENDED_BY_STAFF)
            next(steps, None)
            for stay in self.stays:
                stay.is_revoked = True
            if to_the_end:
                list(steps)
                self.end(self.stays)
        elif whose.exists:
            list(ending.end_all_in_batches(User.objects.get(pk=whose.id), SignIn.Reason.ENDED_BY_STAFF))
            self.end(self.of(whose))


class FactorRules(WalkState):
    """Second factors: a user adds an app, and staff remove it."""

    @precondition(has_live_sign_ins)
    @rule(credential=pick)
    def add_an_app(self, credential: int) -> None:
        self.step("add an app")
        by = self.some(self.credentials, credential)
        person = by.stay.person
        if person.app:
            return
        self.prove(by)
        by = self.current(by)
        response = self.with_login(by, "POST", "/api/factors/totp/", {})
        if response is None:
            return
        assert response.status_code == 201, response.content
        made = response.json()
        app = App.of_secret(made["secret"])
        response = self.with_login(by, "POST", "/api/factors/totp/confirm/", {"id": made["id"], "code": app.code()})
        assert response is not None
        assert response.status_code == 200, response.content
        person.app = app
        by.stay.prove(self.now, 2)
        self.note_new_key(by, response)

    @precondition(lambda self: any(person.app for person in self.people))
    @rule(person=pick)
    def staff_remove_factors(self, person: int) -> None:
        self.step("staff remove factors")
        whose = self.people[person % 2]
        if whose.app and whose.exists and whose.is_active:
            removals.remove_at_once(User.objects.get(pk=whose.id), "Lost the phone.")
            whose.app = None
            self.end(self.of(whose))


class NeutralRules(WalkState):
    """Time, restarts and changes that end no sign-in."""

    @rule(wait=st.sampled_from(WAITS))
    def wait(self, wait: timedelta) -> None:
        self.step("wait")
        self.traveller.shift(wait)

    @rule(person=pick, what=st.sampled_from(["prune", "restart", "first_name", "last_login", "is_staff"]))
    def change_nothing(self, person: int, what: str) -> None:
        """Deletes old rows, or empties the caches of the process and Redis, or changes an unrelated field."""
        self.step("change nothing")
        if what == "prune":
            call_command("prune", verbosity=0)
            self.end(stay for stay in self.stays if stay.is_revoked)
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
