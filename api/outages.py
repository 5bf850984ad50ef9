"""Outages of the database and of Redis: which database errors are outages, their error texts, and their log lines."""

import logging
import math
import re
import sqlite3
import threading
import time
from enum import StrEnum
from functools import cached_property
from http import HTTPStatus

import psycopg
from django.conf import settings
from django.db import DatabaseError, InterfaceError, InternalError, OperationalError, ProgrammingError
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

logger = logging.getLogger(__name__)

LOG_EVERY_SECONDS = 60.0
# How many kinds of failures are told apart by their words, which may contain a name.
MAX_KINDS = 10
NUMBERS = re.compile("[0-9]+")
# An outage is over if it was not seen for this time: while some requests fail and others do not, it goes on.
QUIET_SECONDS = 5.0
# How long the migrations that were found in the database are not asked for again.
MIGRATIONS_FRESH_SECONDS = 60.0
# Raised for: unreachable, timeout, no free connection, deadlock, serialization failure; closed connection; read-only.
UNAVAILABLE = (OperationalError, InterfaceError, InternalError)
# SQLite: https://www.sqlite.org/rescode.html
SQLITE_CANNOT_WRITE = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC")
# SQLSTATE of PostgreSQL for a statement in the wrong state of its transaction.
INVALID_TRANSACTION_STATES = {"25001", "25P01", "25P02"}
SQLITE_MISSING = ("no such table", "no such column", "has no column")


class Outage(StrEnum):
    UNREACHABLE = "The service cannot reach its database. Try again in a moment."
    CANNOT_WRITE = "The service cannot write to its database at the moment. Try again later."
    NOT_MIGRATED = "The service is being updated. Try again in a moment."


# The log lines of the end of outages. For migrations, /health/ready logs both.
RECOVERIES = {
    Outage.UNREACHABLE: "The database is available again",
    Outage.CANNOT_WRITE: "The database accepts writes again",
}


def outage_of(error: BaseException | None) -> Outage | None:
    """The kind of outage that an exception reports; None for an error of the code."""
    if not isinstance(error, DatabaseError | InterfaceError):
        return None
    cause = error.__cause__
    if _is_about_the_schema(error, cause):
        return Outage.NOT_MIGRATED if migrations.missing() else None
    if isinstance(cause, psycopg.errors.InsufficientPrivilege):
        # The role lacks rights on a table: only the operator can grant them.
        return Outage.UNREACHABLE
    if not isinstance(error, UNAVAILABLE) or _is_about_the_statement(cause):
        return None
    return Outage.CANNOT_WRITE if _is_about_writing(cause) else Outage.UNREACHABLE


class AppliedMigrations:
    """
    Compares the migrations of the code with those applied to the database. A database that has more is accepted: during
    an upgrade, old nodes go on. Uses Django's undocumented loader and recorder: the public way is the command
    `migrate --check`, which builds the graph of all migrations at each call.
    """

    def __init__(self) -> None:
        # On the monotonic clock, in seconds.
        self._applied_until = -math.inf

    def missing(self) -> list[str]:
        """Their names; all if the database cannot be read. One statement until all are applied, then one a minute."""
        if time.monotonic() < self._applied_until:
            return []
        try:
            names = set(MigrationRecorder.Migration.objects.values_list("app", "name"))
        except DatabaseError:
            names = set()
        found = [".".join(key) for key, old in self._required if key not in names and not (old and old <= names)]
        if not found:
            # Not for ever: the database may be migrated back, or restored, while this process runs.
            self._applied_until = time.monotonic() + MIGRATIONS_FRESH_SECONDS
        return found

    @cached_property
    def _required(self) -> list[tuple[tuple[str, str], frozenset[tuple[str, str]]]]:
        """The migrations of the code, each with those that it replaces."""
        loader = MigrationLoader(None, load=False)
        loader.load_disk()
        return [(key, frozenset(migration.replaces)) for key, migration in loader.disk_migrations.items()]


migrations = AppliedMigrations()


def _is_about_writing(cause: BaseException | None) -> bool:
    if isinstance(cause, psycopg.errors.DiskFull | psycopg.errors.ReadOnlySqlTransaction):
        return True
    return getattr(cause, "sqlite_errorname", "").startswith(SQLITE_CANNOT_WRITE)


def _is_about_the_statement(cause: BaseException | None) -> bool:
    """Errors of the code that PostgreSQL and SQLite report with the exception types of an outage."""
    if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        return True
    return getattr(cause, "sqlstate", None) in INVALID_TRANSACTION_STATES


def _is_about_the_schema(error: BaseException, cause: BaseException | None) -> bool:
    if isinstance(cause, sqlite3.Error):
        return any(words in str(cause) for words in SQLITE_MISSING)
    return isinstance(error, ProgrammingError) and isinstance(
        cause, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn
    )


class OutageLog:
    """Logs each kind of failure once until recovery, or once per `repeat_seconds`, and logs the recovery once."""

    def __init__(self, failure: str, recovery: str = "", repeat_seconds: float = math.inf) -> None:
        self._failure = failure
        self._recovery = recovery
        self._repeat_seconds = repeat_seconds
        self._lock = threading.Lock()
        # When each kind is logged again, on the monotonic clock.
        self._next: dict[str, float] = {}

    def failed(self, error: BaseException) -> None:
        """By the type of the error: a closed connection is followed by the reason why there is no new one."""
        if self._is_due(type(error).__name__):
            logger.warning("%s: %s", self._failure, error)

    def failed_with_traceback(self, error: BaseException, kind: str) -> None:
        if self._is_due(kind):
            logger.error("%s: %s", self._failure, _first_line(error), exc_info=error)

    def recovered(self) -> None:
        if not self._next:
            return
        self._next = {}
        logger.warning(self._recovery)

    def _is_due(self, kind: str) -> bool:
        with self._lock:
            now = time.monotonic()
            if now < self._next.get(kind, now):
                return False
            self._next[kind] = now + self._repeat_seconds
        return True


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


class DatabaseOutageLog(OutageLog):
    """Logs the exception of each kind of database failure once a minute, and the end of each outage once."""

    def __init__(self) -> None:
        super().__init__("The database is not available; requests get 503", repeat_seconds=LOG_EVERY_SECONDS)
        # When each outage that has not ended was seen last, and when a connection was opened last.
        self._seen: dict[Outage, float] = {}
        self._connected_at = -math.inf

    @property
    def is_active(self) -> bool:
        """Whether an outage has not ended, and was seen in the last minute."""
        now = time.monotonic()
        return any(now - seen < LOG_EVERY_SECONDS for seen in self._seen.copy().values())

    def add(self, error: BaseException, outage: Outage) -> None:
        """Call it for each failed request: in an outage, all of them fail."""
        self._seen[outage] = time.monotonic()
        self.failed_with_traceback(error, self._kind_of(error, outage))

    def _kind_of(self, error: BaseException, outage: Outage) -> str:
        """The type and the first words: a closed connection is another failure than the one that cannot be opened."""
        kind = f"{outage.name} {type(error.__cause__ or error).__name__}"
        exact = f"{kind} {NUMBERS.sub('', _first_line(error).partition(':')[0])}"
        return exact if exact in self._next or len(self._next) < MAX_KINDS else kind

    def end(self, outage: Outage) -> None:
        """Call it when the database has done what it could not do in this outage."""
        if time.monotonic() - self._seen.get(outage, math.inf) < QUIET_SECONDS or self._seen.pop(outage, None) is None:
            return
        self._next = {kind: due for kind, due in self._next.items() if not kind.startswith(outage.name)}
        if outage in RECOVERIES:
            logger.warning(RECOVERIES[outage])

    def note_connection(self, **kwargs: object) -> None:
        """A receiver of Django's signal connection_created."""
        self._connected_at = time.monotonic()

    def note_request(self, **kwargs: object) -> None:
        """A receiver of Django's signal request_finished: ends an outage after which a connection was opened."""
        if self._seen and self._connected_at > self._seen.get(Outage.UNREACHABLE, math.inf):
            self.end(Outage.UNREACHABLE)

    def note_write(self, **kwargs: object) -> None:
        """A receiver of signals of successful writes."""
        if self._seen:
            self.end(Outage.CANNOT_WRITE)


database_outages = DatabaseOutageLog()
log_database_outage = database_outages.add


class OutageFilter(logging.Filter):
    """Drops Django's line for each request or probe that got 503 while the log has the cause."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "status_code", None) != HTTPStatus.SERVICE_UNAVAILABLE:
            return True
        path = getattr(getattr(record, "request", None), "path_info", "")
        return path not in settings.PROBE_PATHS and not database_outages.is_active
