"""The command `migrate`: Django's own, for use beside nodes that serve: it waits briefly for locks, and tries again."""

import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import Error, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

# Less than PostgreSQL's deadlock_timeout (1 s): the migration gives up before PostgreSQL cancels a request. Requests
# queue behind a migration that waits for a lock, so this is also how long they wait.
LOCK_TIMEOUT_MILLISECONDS = 500
GIVE_UP_SECONDS = 300.0
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.5, 8.0
# The number of an advisory lock of PostgreSQL in this database.
ADVISORY_LOCK = 0x77726973
# https://www.postgresql.org/docs/current/errcodes-appendix.html
CONFLICTS = {
    "55P03": "another transaction holds a lock",
    "40P01": "a deadlock with another transaction",
    "40001": "a serialization failure",
}
# https://www.sqlite.org/rescode.html, with the extended codes of both.
SQLITE_CONFLICTS = ("SQLITE_BUSY", "SQLITE_LOCKED")


class Command(migrate.Command):
    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)  # type: ignore[arg-type]
        parser.add_argument(
            "--give-up-after",
            type=float,
            default=GIVE_UP_SECONDS,
            metavar="SECONDS",
            help="how long a migration that other transactions stop is repeated (default: %(default)s)",
        )

    def handle(self, *args: Any, give_up_after: float, **options: Any) -> None:
        """Raises CommandError if a migration did not get its locks in time. None is left half done."""
        connection = connections[options["database"]]
        deadline, pause = time.monotonic() + give_up_after, FIRST_PAUSE_SECONDS
        with self.turn(connection), short_waits(connection):
            while conflict := self.attempt(*args, **options):
                if time.monotonic() + pause > deadline:
                    raise CommandError(f"Gave up: {conflict}. What is listed as OK above is done; run it again later.")
                self.stdout.write(f"\n  Stopped by {conflict}. Nothing is half done; next attempt in {pause:g} s.")
                self.stdout.flush()
                time.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE_SECONDS)

    def attempt(self, *args: Any, **options: Any) -> str:
        """Applies what is not yet applied. Returns what stopped it; empty if nothing did."""
        try:
            super().handle(*args, **options)
        except OperationalError as error:
            if conflict := conflict_of(error):
                return conflict
            raise
        return ""

    @contextmanager
    def turn(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Waits until no other `migrate` runs on this PostgreSQL database: two would stop each other."""
        if not has_sessions(connection):
            yield
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [ADVISORY_LOCK])
            if not cursor.fetchone()[0]:
                self.stdout.write("Another migrate is running on this database. This one waits for it.")
                self.stdout.flush()
                cursor.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
        try:
            yield
        finally:
            execute_if_connected(connection, f"SELECT pg_advisory_unlock({ADVISORY_LOCK})")


@contextmanager
def short_waits(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Limits each wait for a lock of PostgreSQL. (That of SQLite is limited by the settings, to ten seconds.)"""
    if not has_sessions(connection):
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MILLISECONDS}")
    try:
        yield
    finally:
        execute_if_connected(connection, "RESET lock_timeout")


def has_sessions(connection: BaseDatabaseWrapper) -> bool:
    """Whether a setting of the session stays with this connection. With PgBouncer, requests would get it, too."""
    return connection.vendor == "postgresql" and not settings.DATABASE_PGBOUNCER


def execute_if_connected(connection: BaseDatabaseWrapper, statement: str) -> None:
    with suppress(Error), connection.cursor() as cursor:
        cursor.execute(statement)


def conflict_of(error: OperationalError) -> str:
    """Returns which conflict with another transaction caused the error; empty for all other causes."""
    cause = error.__cause__
    if getattr(cause, "sqlite_errorname", "").startswith(SQLITE_CONFLICTS):
        return "another process that writes to the file"
    return CONFLICTS.get(getattr(cause, "sqlstate", None) or "", "")
