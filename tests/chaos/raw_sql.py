"""Changes of sign-ins, sessions and users by raw SQL, on a connection of the load itself, past the nodes."""

import asyncio
import hashlib
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import psycopg

from tests.chaos.checker import BOUND
from tests.chaos.clients import Browser
from tests.chaos.load import Client
from tests.chaos.people import PASSWORD, Person
from tests.chaos.recorder import FOREVER, End, History

# Between two changes, in seconds.
PAUSE = (1.0, 3.0)
# Requests that the workers remember, or not, before a change.
WARMING_REQUESTS = 8

END = "UPDATE accounts_signin SET ended_at = now(), end_reason = 'ended_by_staff' WHERE id = %s AND ended_at IS NULL"
# Two statements, since the foreign key of the sessions does not cascade.
DELETE_SESSIONS_OF = "DELETE FROM accounts_session WHERE sign_in_id = %s"
DELETE = "DELETE FROM accounts_signin WHERE id = %s"
DELETE_SESSIONS = "DELETE FROM accounts_session WHERE left(session_key, 32) = ANY(%s)"
REPLACE_KEY = "UPDATE accounts_session SET session_key = %s WHERE left(session_key, 32) = %s"
SET_PASSWORD = "UPDATE accounts_user SET password = %s WHERE username = %s"
SET_ACTIVE = "UPDATE accounts_user SET is_active = %s WHERE username = %s"

KINDS = ("end", "delete", "delete sessions", "replace key", "password", "deactivate")

Statement = tuple[str, list[Any]]


def action(kind: str) -> str:
    return f"raw SQL: {kind}"


def password_hash(password: str) -> str:
    """Returns a hash of the fleet's password hasher (tests/chaos/settings.py)."""
    salt = "saltsaltsaltsaltsaltsa"
    return f"md5${salt}${hashlib.md5((salt + password).encode(), usedforsecurity=False).hexdigest()}"


class RawSQL:
    """
    Executes changes one after the other, every kind once before any is repeated. Its connections do not pass the
    proxies and have no timeout, so that no change is executed after its end was recorded.
    """

    def __init__(self, url: str, clients: Sequence[Client], history: History, rng: random.Random) -> None:
        self.url, self.clients, self.history, self.rng = url, clients, history, rng

    async def run(self, until: float) -> None:
        ways: dict[str, Callable[[Person, list[Client]], Awaitable[bool]]] = {
            "end": self.end_one,
            "delete": self.delete_one,
            "delete sessions": self.delete_sessions,
            "replace key": self.replace_key,
            "password": self.set_password,
            "deactivate": self.deactivate,
        }
        bag: list[str] = []
        while time.monotonic() < until:
            bag = bag or self.rng.sample(KINDS, len(KINDS))
            person = self.rng.choice(self.clients).person
            async with person.lock:
                signed_in = [each for each in self.clients if each.person is person and each.sid]
                done = await ways[bag[-1]](person, signed_in)
            if done:
                bag.pop()
            await asyncio.sleep(self.rng.uniform(*PAUSE) if done else 0.1)

    async def end_one(self, person: Person, signed_in: list[Client]) -> bool:
        if signed_in:
            victim = self.rng.choice(signed_in)
            await self.change("end", [victim], {victim.sid}, (END, [victim.sid]))
        return bool(signed_in)

    async def delete_one(self, person: Person, signed_in: list[Client]) -> bool:
        if signed_in:
            victim = self.rng.choice(signed_in)
            sid = victim.sid
            await self.change("delete", [victim], {sid}, (DELETE_SESSIONS_OF, [sid]), (DELETE, [sid]))
        return bool(signed_in)

    async def delete_sessions(self, person: Person, signed_in: list[Client]) -> bool:
        browsers = [each for each in signed_in if isinstance(each, Browser)]
        keys = [each.key for each in browsers]
        if browsers:
            # A deleted session takes the tokens of its sign-in along. The row of the sign-in does not end.
            sids = {each.sid for each in browsers}
            await self.change("delete sessions", browsers, sids, (DELETE_SESSIONS, [keys]), keys=keys)
        return bool(browsers)

    async def replace_key(self, person: Person, signed_in: list[Client]) -> bool:
        browsers = [each for each in signed_in if isinstance(each, Browser)]
        for victim in browsers[-1:]:
            new = hashlib.sha256(self.rng.randbytes(32)).hexdigest()
            key = victim.key
            await self.change("replace key", [victim], (), (REPLACE_KEY, [new, key]), keys=[key])
        return bool(browsers)

    async def set_password(self, person: Person, signed_in: list[Client]) -> bool:
        if len(person.passwords) > 1 or not signed_in:
            return False
        new = f"{PASSWORD} {self.rng.randrange(10**9)}"
        # Until the response, either password may be the right one.
        person.passwords.append(new)
        statement = (SET_PASSWORD, [password_hash(new), person.name])
        if await self.change("password", signed_in, person.live, statement):
            person.passwords = [new]
        return True

    async def deactivate(self, person: Person, signed_in: list[Client]) -> bool:
        """Deactivates the user and activates the user again: the ends are final."""
        if not signed_in:
            return False
        await self.change("deactivate", signed_in, person.live, (SET_ACTIVE, [False, person.name]))
        while not await self.execute((SET_ACTIVE, [True, person.name])):
            await asyncio.sleep(0.5)
        return True

    async def change(
        self, kind: str, victims: list[Client], sids: Iterable[str], *statements: Statement, keys: Iterable[str] = ()
    ) -> bool:
        """Returns whether the change was committed. Then the old credentials are tried, like a thief does."""
        copies = [each.copy() for each in victims]
        await asyncio.gather(*(each.try_out("call", WARMING_REQUESTS) for each in copies))
        name, ended = copies[0].person.name, (frozenset(sids), "", "", frozenset(keys))
        number, sent_at = len(self.history.ends), time.monotonic()
        self.history.ends.append(End(action(kind), sent_at, FOREVER, False, name, *ended))
        committed = await self.execute(*statements)
        answered_at = time.monotonic()
        self.history.ends[number] = End(action(kind), sent_at, answered_at, committed, name, *ended)
        if committed:
            await asyncio.sleep(answered_at + BOUND - time.monotonic() + 0.02)
            await asyncio.gather(*(each.try_out("stolen") for each in copies))
        return committed

    async def execute(self, *statements: Statement) -> bool:
        """Executes the statements in one transaction. Returns whether it was committed."""
        return await asyncio.to_thread(self._execute, statements)

    def _execute(self, statements: Sequence[Statement]) -> bool:
        try:
            with psycopg.connect(self.url) as connection:
                for sql, parameters in statements:
                    connection.execute(sql, parameters)
        except psycopg.Error:
            return False
        return True
