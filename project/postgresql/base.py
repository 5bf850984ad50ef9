import threading
import time
from types import SimpleNamespace
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS
from django.db.backends.postgresql import base
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus

from api import metrics
from project.postgresql import patience

# How much longer than PostgreSQL's own limit we wait, in seconds: what it refuses itself leaves a good connection.
MARGIN = 1.0


# Between two attempts to connect to a PostgreSQL that is silent, in seconds.
ASK_EVERY = 1.0


class Silence:
    """What this process knows of a PostgreSQL that takes connections and answers nothing."""

    def __init__(self) -> None:
        self.is_noticed = False
        self.asking = threading.Lock()
        # On the monotonic clock.
        self.ask_again_at = 0.0

    def note(self) -> None:
        metrics.database_timeouts.inc()
        self.is_noticed, self.ask_again_at = True, time.monotonic() + ASK_EVERY


silence = Silence()


def note_failure(pool: object) -> None:
    """psycopg's pool could not connect: whoever waits for a connection does not learn of it, so let no more wait."""
    if patience.limit:
        silence.note()


class Connection(psycopg.Connection[Any]):
    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Everything that waits for an answer comes through here."""
        if timeout is None and patience.limit:
            timeout = patience.limit + MARGIN
        try:
            return super().wait(gen, interval, timeout)
        except psycopg.OperationalError:
            if patience.limit and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                # What becomes of the statement nobody knows, and the connection is of no more use.
                silence.note()
                self.close()
            raise


class DatabaseWrapper(base.DatabaseWrapper):
    Database = SimpleNamespace(**vars(psycopg) | {"connect": Connection.connect})  # type: ignore[assignment]

    def __init__(self, settings_dict: dict[str, Any], alias: str = DEFAULT_DB_ALIAS) -> None:
        super().__init__(settings_dict, alias)
        if pool := settings_dict["OPTIONS"].get("pool"):
            pool.update(connection_class=Connection, reconnect_failed=note_failure)

    def get_connection_params(self) -> dict[str, Any]:
        params = super().get_connection_params()
        if params.pop("sends_limits") and patience.limit:
            limit = int(patience.limit * 1000)
            limits = f"-c statement_timeout={limit} -c idle_in_transaction_session_timeout={limit}"
            params["options"] = f"{limits} {params.get('options', '')}"
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """While PostgreSQL is silent one thread at a time asks whether it is back; the others do not wait for it."""
        if not silence.is_noticed:
            return self._connect(conn_params)
        if time.monotonic() < silence.ask_again_at or not silence.asking.acquire(blocking=False):
            raise psycopg.OperationalError("PostgreSQL was silent a moment ago, and is being asked")
        try:
            return self._connect(conn_params)
        finally:
            silence.asking.release()

    def _connect(self, conn_params: dict[str, Any]) -> Any:
        try:
            connection = super().get_new_connection(conn_params)
        except psycopg.errors.ConnectionTimeout:
            if patience.limit:
                silence.note()
            raise
        silence.is_noticed = False
        metrics.connections.inc()
        return connection

    def _close(self) -> None:
        if self.connection is not None:
            metrics.connections.dec()
        super()._close()  # type: ignore[misc]
