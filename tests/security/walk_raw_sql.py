"""The rules of the random walk that change rows by raw SQL."""

from django.contrib.auth.hashers import make_password
from django.contrib.sessions.backends.base import VALID_KEY_CHARS
from django.db import connection
from django.utils.crypto import get_random_string
from hypothesis import strategies as st
from hypothesis.stateful import (
    precondition,
    rule,
)

from accounts.models import SignIn
from accounts.sessions import KEY_LENGTH, digest
from tests.security.model import Cookie
from tests.security.walk_rules import has_live_sign_ins, pick
from tests.security.walk_state import WalkState, numbers


class RawSQLRules(WalkState):
    """Changes past all code of the project. Each process sees them within a second."""

    @precondition(has_live_sign_ins)
    @rule(stay=pick, deletes=st.booleans())
    def end_one_by_sql(self, stay: int, deletes: bool) -> None:
        self.step("end one by SQL")
        target = self.some(self.stays, stay)
        sid = SignIn._meta.pk.get_db_prep_value(target.sid, connection)
        with self.raw_sql() as cursor:
            if deletes:
                cursor.execute("DELETE FROM accounts_session WHERE sign_in_id = %s", [sid])
                cursor.execute("DELETE FROM accounts_signin WHERE id = %s", [sid])
            else:
                end = "UPDATE accounts_signin SET ended_at = CURRENT_TIMESTAMP WHERE id = %s AND ended_at IS NULL"
                cursor.execute(end, [sid])
        target.over = True

    @precondition(has_live_sign_ins)
    @rule(cookie=pick, deletes=st.booleans())
    def change_a_session_by_sql(self, cookie: int, deletes: bool) -> None:
        """Deletes the session, or replaces its key: the sign-in goes on."""
        self.step("change a session by SQL")
        target, new = self.some(self.cookies, cookie), get_random_string(KEY_LENGTH, VALID_KEY_CHARS)
        with self.raw_sql() as cursor:
            if deletes:
                cursor.execute("DELETE FROM accounts_session WHERE session_key = %s", [digest(target.key)])
            else:
                replace = "UPDATE accounts_session SET session_key = %s WHERE session_key = %s"
                cursor.execute(replace, [digest(new), digest(target.key)])
        if target.is_good(self.now) and not deletes:
            self.cookies.append(Cookie(target.stay, new))
        target.is_replaced = True

    @precondition(has_live_sign_ins)
    @rule(person=pick, column=st.sampled_from(["password", "is_active", "active again"]))
    def change_a_user_by_sql(self, person: int, column: str) -> None:
        self.step("change a user by SQL")
        whose, new = self.people[person % 2], f"passphrase number {next(numbers)}"
        if not (whose.exists and whose.is_active):
            return
        with self.raw_sql() as cursor:
            if column == "password":
                set_password = "UPDATE accounts_user SET password = %s WHERE id = %s"
                cursor.execute(set_password, [make_password(new), whose.id])
            else:
                cursor.execute("UPDATE accounts_user SET is_active = false WHERE id = %s", [whose.id])
        if column == "password":
            self.has_new_password(whose, new)
            return
        self.end(self.of(whose))
        if column == "active again":
            with self.raw_sql() as cursor:
                cursor.execute("UPDATE accounts_user SET is_active = true WHERE id = %s", [whose.id])
        else:
            whose.is_active = False
