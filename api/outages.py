"""What is wrong with the database: for the log with its exception, for a client in words that give nothing away."""

import logging
import sqlite3
import threading
import time
from enum import StrEnum

import psycopg
from django.db import DatabaseError, InterfaceError, InternalError, OperationalError, ProgrammingError

from api import migrations_state

logger = logging.getLogger(__name__)

LOG_EVERY_SECONDS = 60.0
# Away, stuck, out of connections, a deadlock, a serialization failure; a closed connection; read-only after a failover.
UNAVAILABLE = (OperationalError, InterfaceError, InternalError)
# SQLite: https://www.sqlite.org/rescode.html
CANNOT_WRITE = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC")
# Of PostgreSQL: a statement in the wrong state of its transaction.
STATEMENTS_AT_FAULT = {"25001", "25P01", "25P02"}
MISSING = ("no such table", "no such column", "has no column")


class Trouble(StrEnum):
    UNREACHABLE = "The service cannot reach its database. Try again in a moment."
    CANNOT_WRITE = "The service cannot write to its database at the moment. Try again later."
    NOT_MIGRATED = "The service is being updated. Try again in a moment."


def trouble_of(error: BaseException | None) -> Trouble | None:
    """None for what is no trouble of the database but an error of the code."""
    if not isinstance(error, DatabaseError | InterfaceError):
        return None
    cause = error.__cause__
    if _is_about_the_schema(error, cause):
        return Trouble.NOT_MIGRATED if migrations_state.are_missing() else None
    if not isinstance(error, UNAVAILABLE) or _is_about_the_statement(cause):
        return None
    name = getattr(cause, "sqlite_errorname", "")
    read_only = (psycopg.errors.DiskFull, psycopg.errors.ReadOnlySqlTransaction)
    return (
        Trouble.CANNOT_WRITE if name.startswith(CANNOT_WRITE) or isinstance(cause, read_only) else Trouble.UNREACHABLE
    )


def _is_about_the_statement(cause: BaseException | None) -> bool:
    """An error of the code, which PostgreSQL and SQLite report with the types of an outage, too."""
    if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        return True
    return getattr(cause, "sqlstate", None) in STATEMENTS_AT_FAULT


def _is_about_the_schema(error: BaseException, cause: BaseException | None) -> bool:
    if isinstance(cause, sqlite3.Error):
        return any(words in str(cause) for words in MISSING)
    return isinstance(error, ProgrammingError) and isinstance(
        cause, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn
    )


class Log:
    """Each kind of trouble once a minute, with its exception: an outage has as many as there are requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # On the monotonic clock, by kind.
        self._next: dict[str, float] = {}

    def note(self, error: BaseException, trouble: Trouble) -> None:
        kind = f"{trouble.name} {type(error.__cause__ or error).__name__}"
        with self._lock:
            if time.monotonic() < self._next.get(kind, 0.0):
                return
            self._next[kind] = time.monotonic() + LOG_EVERY_SECONDS
        logger.error("Answered 503, and will be for a while: %s", _first_line(error), exc_info=error)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


log = Log()


class OutageLog:
    """Says in the log once that something went wrong, and once that it is over."""

    def __init__(self, trouble: str, recovery: str) -> None:
        self._trouble = trouble
        self._recovery = recovery
        self._is_well = True

    def is_in_trouble(self, error: Exception) -> None:
        if self._is_well:
            logger.warning("%s: %s", self._trouble, error)
        self._is_well = False

    def is_well(self) -> None:
        if not self._is_well:
            logger.warning(self._recovery)
        self._is_well = True
