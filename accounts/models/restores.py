"""The model of a restore from a backup, and the ids that are not assigned again after it."""

from datetime import datetime
from typing import ClassVar

from django.db import connection, models, transaction
from django.utils import timezone

RESTORED = "The database was restored from a backup."
RUN_AFTER_RESTORE = "Run manage.py after_restore (project/BACKUPS.md, Restore a backup)."
# More rows than a table gets between two backups.
SKIPPED_IDS = 2**20

SKIP_IDS_SQL = {
    # The backup may have been restored without the values of its sequences.
    "postgresql": [
        """
        SELECT setval(sequence, greatest(nextval(sequence), (SELECT max(id) FROM {table})) + {ids})
        FROM (SELECT pg_get_serial_sequence('{table}', 'id')::regclass AS sequence) AS of_table
        """
    ],
    # A table that never had a row is missing.
    "sqlite": [
        """
        INSERT INTO sqlite_sequence (name, seq)
        SELECT '{table}', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = '{table}')
        """,
        "UPDATE sqlite_sequence SET seq = seq + {ids} WHERE name = '{table}'",
    ],
}


class RestoreManager(models.Manager["Restore"]):
    def record(self) -> None:
        """
        Records a restore now, and skips the ids of users and events that may have been assigned since the backup: other
        services know users by them, and collectors of logs events.
        """
        with transaction.atomic():
            self.create()
            skip_ids("accounts_user")
            skip_ids("accounts_securityevent")

    def since(self, moment: datetime) -> models.QuerySet["Restore"]:
        """Returns the restores after a moment: what was issued at that moment may have been used."""
        return self.filter(restored_at__gte=moment)


class Restore(models.Model):
    """A restore of the database from a backup: links and steps that were issued before it are refused."""

    restored_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[RestoreManager] = RestoreManager()

    class Meta:
        default_permissions: ClassVar[list[str]] = []

    def __str__(self) -> str:
        return f"{self.restored_at:%Y-%m-%d %H:%M}"


def skip_ids(table: str) -> None:
    """Skips the next SKIPPED_IDS ids of a table. The ORM does not know sequences. At most two statements."""
    with connection.cursor() as cursor:
        for statement in SKIP_IDS_SQL[connection.vendor]:
            cursor.execute(statement.format(table=table, ids=SKIPPED_IDS))
