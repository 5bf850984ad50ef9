"""Which database the blocklist is read from: after a restore it is another, with other rows under the same ids."""

import uuid
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connection, models, transaction

# The key changes with `manage.py after_restore`; the rest by itself, with most ways to restore: a new database, a new
# or emptied table, a server that was started anew.
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
        """Gives this database another key, so that each process reads its blocklist from the beginning."""
        with transaction.atomic():
            self.all().delete()
            self.create()


class Store(models.Model):
    """The key of this database, in one row."""

    key = models.UUIDField(default=uuid.uuid4)

    objects = StoreManager()

    class Meta:
        app_label = "blocklist"

    def __str__(self) -> str:
        return str(self.key)


class StoreMark(NamedTuple):
    store: str | None
    # The last id that was given, whether or not its row is there.
    last_id: int | None

    def differs_from(self, earlier: "StoreMark") -> bool:
        return self.store != earlier.store or (self.last_id or 0) < (earlier.last_id or 0)


def read_with_mark(rows: models.QuerySet[Any, Any]) -> tuple[StoreMark, list[Any]]:
    """The rows of a values_list() that begins with the id, in the order of ids, and the store's mark. One statement."""
    compiler = rows.query.get_compiler(DEFAULT_DB_ALIAS)
    sql, parameters = compiler.as_sql()
    converters = compiler.get_converters([column for column, _sql, _alias in compiler.select])
    mark = STORE_MARK_SQL[connection.vendor]
    with connection.cursor() as cursor:
        # The mark comes even where there are no rows.
        cursor.execute(
            f"SELECT mark.*, found.* FROM ({mark}) AS mark LEFT JOIN ({sql}) AS found ON TRUE ORDER BY found.id",  # noqa: S608
            parameters,
        )
        found = cursor.fetchall()
    values = [row[2:] for row in found if row[2] is not None]
    return StoreMark(*found[0][:2]), [tuple(row) for row in compiler.apply_converters(values, converters)]
