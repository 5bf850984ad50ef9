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

LOG_INTERVAL_SECONDS = 60.0
# Away, stuck, out of connections, a deadlock, a serialization failure; a closed connection; read-only after a failover.
UNAVAILABLE = (OperationalError, InterfaceError, InternalError)
# SQLite: https://www.sqlite.org/rescode.html
CANNOT_WRITE = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC")
# Of PostgreSQL: a statement in the wrong state of its transaction.
STATEMENT_ERROR_STATES = {"25001", "25P01", "25P02"}
SCHEMA_ERROR_TEXTS = ("no such table", "no such column", "has no column")


class DatabaseOutage(StrEnum):
    UNREACHABLE = "The service cannot reach its database. Try again in a moment."
    CANNOT_WRITE = "The service cannot write to its database at the moment. Try again later."
    NOT_MIGRATED = "The service is being updated. Try again in a moment."


def database_outage(error: BaseException | None) -> DatabaseOutage | None:
    """None for what is no trouble of the database but an error of the code."""
    if not isinstance(error, DatabaseError | InterfaceError):
        return None
    cause = error.__cause__
    if _is_schema_error(error, cause):
        return DatabaseOutage.NOT_MIGRATED if migrations_state.are_missing() else None
    if not isinstance(error, UNAVAILABLE) or _is_statement_error(cause):
        return None
    name = getattr(cause, "sqlite_errorname", "")
    read_only = (psycopg.errors.DiskFull, psycopg.errors.ReadOnlySqlTransaction)
    if name.startswith(CANNOT_WRITE) or isinstance(cause, read_only):
        return DatabaseOutage.CANNOT_WRITE
    return DatabaseOutage.UNREACHABLE


def _is_statement_error(cause: BaseException | None) -> bool:
    """An error of the code, which PostgreSQL and SQLite report with the types of an outage, too."""
    if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        return True
    return getattr(cause, "sqlstate", None) in STATEMENT_ERROR_STATES


def _is_schema_error(error: BaseException, cause: BaseException | None) -> bool:
    if isinstance(cause, sqlite3.Error):
        return any(words in str(cause) for words in SCHEMA_ERROR_TEXTS)
    return isinstance(error, ProgrammingError) and isinstance(
        cause, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn
    )


class RepeatedErrorLog:
    """Each kind of trouble once a minute, with its exception: an outage has as many as there are requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # On the monotonic clock, by kind.
        self._next: dict[str, float] = {}

    def record(self, error: BaseException, outage: DatabaseOutage) -> None:
        kind = f"{outage.name} {type(error.__cause__ or error).__name__}"
        with self._lock:
            if time.monotonic() < self._next.get(kind, 0.0):
                return
            self._next[kind] = time.monotonic() + LOG_INTERVAL_SECONDS
        logger.error("Answered 503, and will be for a while: %s", _first_line(error), exc_info=error)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


log = RepeatedErrorLog()


class OutageLog:
    """Says in the log once that something went wrong, and once that it is over."""

    def __init__(self, failure: str, recovery: str) -> None:
        self._failure = failure
        self._recovery = recovery
        self._is_up = True

    def failed(self, error: Exception) -> None:
        if self._is_up:
            logger.warning("%s: %s", self._failure, error)
        self._is_up = False

    def recovered(self) -> None:
        if not self._is_up:
            logger.warning(self._recovery)
        self._is_up = True
