"""The database backend: sets the mode of the database files before it connects, and keeps triggers."""

import logging
import os
import stat
from contextlib import suppress
from typing import Any

from django.db.backends.sqlite3 import base

from project.sqlite.triggers import DatabaseOperations, SchemaEditor

logger = logging.getLogger(__name__)

OWNER_ONLY = 0o600


class DatabaseWrapper(base.DatabaseWrapper):
    """Otherwise it behaves as Django's own (tests/test_database_backends.py)."""

    SchemaEditorClass = SchemaEditor
    ops_class = DatabaseOperations

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if not self.is_in_memory_db():
            make_private(str(conn_params["database"]))
        return super().get_new_connection(conn_params)


def make_private(path: str) -> None:
    """Creates the file if it does not exist. SQLite gives the files beside it (-wal, -shm) the same mode."""
    with suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, OWNER_ONLY))
        return
    for each in (path, f"{path}-wal", f"{path}-shm"):
        _restrict(each)


def _restrict(path: str) -> None:
    try:
        if stat.S_IMODE(os.stat(path).st_mode) & ~OWNER_ONLY:
            os.chmod(path, OWNER_ONLY)
    except FileNotFoundError:
        pass
    except OSError as error:
        logger.warning("Other accounts can read %s: its mode cannot be changed (%s)", path, error.strerror)
