"""The database backend: connections with a deadline for each statement, and a circuit breaker for new connections."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, Error
from django.db.backends.postgresql import base
from django.db.backends.postgresql.schema import DatabaseSchemaEditor
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus

from api import metrics
from project.postgresql import statement_deadline

# Added to the deadline that PostgreSQL itself enforces: after its error the connection remains usable.
MARGIN_SECONDS = 1.0
# Between two attempts to connect to a PostgreSQL that does not respond.
RETRY_SECONDS = 1.0


class DatabaseCircuitBreaker:
    """Opens when PostgreSQL accepts connections and does not respond; then one thread at a time tries to connect."""

    def __init__(self) -> None:
        self.is_open = False
        self.trying = threading.Lock()
        # On the monotonic clock, in seconds.
        self.retry_at = 0.0

    def open(self) -> None:
        metrics.database_timeouts.inc()
        self.is_open, self.retry_at = True, time.monotonic() + RETRY_SECONDS

    def close(self) -> None:
        self.is_open = False


circuit_breaker = DatabaseCircuitBreaker()


def open_circuit_breaker(pool: object) -> None:
    """Called by psycopg's pool when it cannot connect: threads that wait for a connection get no error from it."""
    if statement_deadline.seconds:
        circuit_breaker.open()


class Connection(psycopg.Connection[Any]):
    """A connection that is closed when a statement exceeds the deadline."""

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """psycopg calls it for each response that it waits for."""
        if timeout is None and statement_deadline.seconds:
            timeout = statement_deadline.seconds + MARGIN_SECONDS
        try:
            return super().wait(gen, interval, timeout)
        except psycopg.OperationalError:
            if statement_deadline.seconds and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                # Whether the statement took effect is unknown, and the connection cannot be used again.
                circuit_breaker.open()
                self.close()
            raise


class SchemaEditor(DatabaseSchemaEditor):
    """
    Ends its transaction also if a deferred statement fails, such as one that adds a foreign key. Django's leaves it
    open, so that the connection can do nothing else and `migrate` cannot try again.
    """

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if exc_type is None:
            try:
                while self.deferred_sql:
                    self.execute(self.deferred_sql.pop(0), None)
            except Error as error:
                super().__exit__(type(error), error, error.__traceback__)
                raise
        super().__exit__(exc_type, exc_value, traceback)


class DatabaseWrapper(base.DatabaseWrapper):
    """Without a deadline it behaves as Django's own (tests/test_database_backends.py)."""

    SchemaEditorClass = SchemaEditor
    Database = SimpleNamespace(**vars(psycopg) | {"connect": Connection.connect})  # type: ignore[assignment]

    def __init__(self, settings_dict: dict[str, Any], alias: str = DEFAULT_DB_ALIAS) -> None:
        super().__init__(settings_dict, alias)
        if pool := settings_dict["OPTIONS"].get("pool"):
            pool.update(connection_class=Connection, reconnect_failed=open_circuit_breaker)

    def get_connection_params(self) -> dict[str, Any]:
        params = super().get_connection_params()
        if params.pop("sends_limits") and statement_deadline.seconds:
            milliseconds = int(statement_deadline.seconds * 1000)
            limits = f"-c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout={milliseconds}"
            params["options"] = f"{limits} {params.get('options', '')}"
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """While the circuit breaker is open, one thread at a time tries to connect; others get an error at once."""
        if not circuit_breaker.is_open:
            return self._connect(conn_params)
        if time.monotonic() < circuit_breaker.retry_at or not circuit_breaker.trying.acquire(blocking=False):
            raise psycopg.OperationalError("PostgreSQL did not respond a moment ago; another attempt follows")
        try:
            return self._connect(conn_params)
        finally:
            circuit_breaker.trying.release()

    def _connect(self, conn_params: dict[str, Any]) -> Any:
        try:
            connection = super().get_new_connection(conn_params)
        except psycopg.errors.ConnectionTimeout:
            if statement_deadline.seconds:
                circuit_breaker.open()
            raise
        circuit_breaker.close()
        metrics.connections.inc()
        return connection

    def _close(self) -> None:
        if self.connection is not None:
            metrics.connections.dec()
        super()._close()  # type: ignore[misc]
