"""The identity of the database: after a restore it changes, since the same ids may then have other rows."""

import uuid
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connection, models, transaction

# The key changes with `manage.py after_restore`; the rest changes by itself in most ways to restore: a new database, a
# new or truncated table, a restarted server.
STORE_MARK_SQL = {
    "postgresql": """
        SELECT concat_ws(
            ' ',
            (SELECT max(key::text) FROM blocklist_store),
            (SELECT oid FROM pg_database WHERE datname = current_database()),
            pg_relation_filenode('blocklist_entry'),
            extract(epoch FROM pg_postmaster_start_time())
        ) AS store,
        pg_sequence_last_value(pg_get_serial_sequence('blocklist_entry', 'id')::regclass) AS last_id
    """,
    "sqlite": """
        SELECT (SELECT max("key") FROM blocklist_store) AS store,
        (SELECT seq FROM sqlite_sequence WHERE name = 'blocklist_entry') AS last_id
    """,
}


class StoreManager(models.Manager["Store"]):
    def renew(self) -> None:
        """Changes the key of this database, so that each process reads the whole blocklist again. Two statements."""
        with transaction.atomic():
            self.all().delete()
            self.create()


class Store(models.Model):
    """The key of this database: a table of one row."""

    key = models.UUIDField(default=uuid.uuid4)

    objects = StoreManager()

    class Meta:
        app_label = "blocklist"

    def __str__(self) -> str:
        return str(self.key)


class StoreMark(NamedTuple):
    """The identity of the database, and its last entry id, at the time of a read."""

    store: str | None
    # The last id that was assigned, whether or not its row exists.
    last_id: int | None

    def differs_from(self, earlier: "StoreMark") -> bool:
        return self.store != earlier.store or self.has_lost_ids_of(earlier)

    def has_lost_ids_of(self, earlier: "StoreMark") -> bool:
        """Whether ids that were assigned are not assigned any more: the database was restored to an older state."""
        return (self.last_id or 0) < (earlier.last_id or 0)


class MarkedRows:
    """
    Rows, read with the store's mark in one statement, so that both are of the same snapshot. Joins hand-written SQL
    with a query that Django's private compiler compiles: the ORM cannot select the last value of a sequence.
    """

    def __init__(self, rows: models.QuerySet[Any, Any]) -> None:
        """`rows` is a values_list() that starts with the id and is ordered by it."""
        self._compiler = rows.query.get_compiler(DEFAULT_DB_ALIAS)

    def read(self) -> tuple[StoreMark, list[Any]]:
        """One statement."""
        sql, parameters = self._compiler.as_sql()
        mark = STORE_MARK_SQL[connection.vendor]
        with connection.cursor() as cursor:
            # The left join returns the mark even if there are no rows.
            cursor.execute(
                f"SELECT mark.*, found.* FROM ({mark}) AS mark LEFT JOIN ({sql}) AS found ON TRUE ORDER BY found.id",  # noqa: S608
                parameters,
            )
            found = cursor.fetchall()
        return StoreMark(*found[0][:2]), self._converted([row[2:] for row in found if row[2] is not None])

    def _converted(self, rows: list[Any]) -> list[Any]:
        converters = self._compiler.get_converters([column for column, _sql, _alias in self._compiler.select])
        return [tuple(row) for row in self._compiler.apply_converters(rows, converters)]
