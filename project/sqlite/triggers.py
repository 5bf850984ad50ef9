"""Triggers of SQLite: migrations that rebuild tables restore them, and flushes do not fire them, as on PostgreSQL."""

from collections.abc import Iterable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3 import operations, schema


def triggers_of(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Returns the names and statements of all triggers. One statement."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY rowid")
        return dict(cursor.fetchall())


def _dropped(connection: BaseDatabaseWrapper, names: Iterable[str]) -> list[str]:
    return [f"DROP TRIGGER {connection.ops.quote_name(name)}" for name in names]


class SchemaEditor(schema.DatabaseSchemaEditor):
    def _remake_table(self, *args: Any, **kwargs: Any) -> None:
        """
        As Django's, and restores the triggers. The table is dropped, and its triggers with it; and it cannot be renamed
        while triggers of other tables refer to it.
        """
        triggers = triggers_of(self.connection)
        for statement in _dropped(self.connection, triggers):
            self.execute(statement, params=None)
        super()._remake_table(*args, **kwargs)  # type: ignore[misc]
        for statement in triggers.values():
            self.execute(statement, params=None)


class DatabaseOperations(operations.DatabaseOperations):
    def sql_flush(self, *args: Any, **kwargs: Any) -> list[str]:
        """As Django's, without triggers: they would write to tables that are flushed."""
        triggers = triggers_of(self.connection)
        return [*_dropped(self.connection, triggers), *super().sql_flush(*args, **kwargs), *triggers.values()]
