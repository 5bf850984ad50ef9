"""Backups of the database, and restores of them under running nodes, by the steps of project/README.md."""

import asyncio
import random
import subprocess
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg

from tests import servers
from tests.chaos.checker import BOUND
from tests.chaos.fleet import NAME, Fleet
from tests.chaos.load import Client
from tests.chaos.people import Person
from tests.chaos.recorder import RESTORE, End, History, Restore

# Between a start, a backup and a restore: this share of the run, and at most so many seconds.
SHARE = 0.16
MAX_PAUSE = 240.0
RESTORED, REPLACED = "restored", "replaced"
# Of users whom raw SQL had deactivated for a moment when the backup began.
ACTIVATE = "UPDATE accounts_user SET is_active = true WHERE NOT is_active"


class Restores:
    """
    Backs up, and later restores, repeatedly, while the nodes run. During a restore no client signs in, so that it is
    known which sign-ins the restore ends.
    """

    def __init__(
        self, fleet: Fleet, people: Sequence[Person], clients: Sequence[Client], history: History, rng: random.Random
    ) -> None:
        self.fleet, self.people, self.clients, self.history, self.rng = fleet, people, clients, history, rng
        self.dump = fleet.postgres.folder / "dump"

    async def run(self, until: float) -> None:
        pause = min(MAX_PAUSE, SHARE * (until - time.monotonic()))
        while time.monotonic() + 2 * pause < until:
            await asyncio.sleep(pause * self.rng.uniform(0.8, 1.2))
            before = self._passwords()
            began_at = await asyncio.to_thread(self._back_up)
            passwords = [self._passwords(), before]
            await asyncio.sleep(pause * self.rng.uniform(0.8, 1.2))
            await self._restore(began_at, passwords)

    def _passwords(self) -> dict[str, list[str]]:
        return {person.name: list(person.passwords) for person in self.people}

    def _back_up(self) -> float:
        """Returns when it began: what was committed before is in the backup."""
        with self.fleet.database_turn:
            began_at = time.monotonic()
            self._run("pg_dump", "--format=custom", f"--file={self.dump}", f"--dbname={NAME}")
        return began_at

    async def _restore(self, backup_began_at: float, passwords: Sequence[dict[str, list[str]]]) -> None:
        async with AsyncExitStack() as stack:
            for person in self.people:
                await stack.enter_async_context(person.lock)
            sids = frozenset(call.sid for call in self.history.calls if call.action == "sign in" and call.sid)
            copies = [each.copy() for each in self.clients if each.sid]
            began_at = time.monotonic()
            await asyncio.to_thread(self._restore_now)
            over_at = time.monotonic()
            self.history.restores.append(Restore(backup_began_at, began_at, over_at))
            self.history.ends.append(End(RESTORE, began_at, over_at, True, "", sids))
            for person in self.people:
                known = [*person.passwords, *(each for stored in passwords for each in stored[person.name])]
                person.passwords = list(dict.fromkeys(known))
                if person.second_factors:
                    # The codes of the backup are valid again.
                    person.second_factors.recovery_codes = []
            for pause in (BOUND, 0.0):
                await asyncio.gather(*(each.try_out("stolen") for each in copies))
                await asyncio.sleep(pause)

    def _restore_now(self) -> None:
        """The backup is restored beside the database, cleaned, and put in place."""
        with (
            self.fleet.database_turn,
            psycopg.connect(self.fleet.postgres.url, autocommit=True) as administrator,
        ):
            administrator.execute(f"ALTER DATABASE {NAME} ALLOW_CONNECTIONS false")
            administrator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [NAME])
            url = self.fleet.create_database(RESTORED)
            self._run("pg_restore", f"--dbname={RESTORED}", "--exit-on-error", "--single-transaction", self.dump)
            env = {**self.fleet.env, "DATABASE_URL": url}
            servers.manage(env, "migrate", "--verbosity=0")
            servers.manage(env, "after_restore")
            with psycopg.connect(url) as connection:
                connection.execute(ACTIVATE)
            administrator.execute(f"ALTER DATABASE {NAME} RENAME TO {REPLACED}")
            administrator.execute(f"ALTER DATABASE {RESTORED} RENAME TO {NAME}")
            administrator.execute(f"DROP DATABASE {REPLACED}")

    def _run(self, program: str, *arguments: str | Path) -> None:
        postgres = self.fleet.postgres
        programs = Path(postgres.command[0]).parent
        connection = ["--username=postgres", f"--host={postgres.folder}"]
        subprocess.run([programs / program, *connection, *arguments], check=True, **postgres.options)
