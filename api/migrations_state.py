"""Whether the database is as new as the code. A database that is newer is fine: old nodes go on during an upgrade."""

from functools import cache

from django.db import DatabaseError
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder


class Applied:
    """Known for good once it is so: until then one query each time."""

    is_known = False


applied = Applied()


@cache
def _needed() -> list[tuple[tuple[str, str], frozenset[tuple[str, str]]]]:
    """The code's migrations, each with those that it replaces."""
    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    return [(key, frozenset(migration.replaces)) for key, migration in loader.disk_migrations.items()]


def are_missing() -> bool:
    """Also where that cannot be asked."""
    if applied.is_known:
        return False
    try:
        names = set(MigrationRecorder.Migration.objects.values_list("app", "name"))
    except DatabaseError:
        return True
    applied.is_known = all(key in names or (old and old <= names) for key, old in _needed())
    return not applied.is_known
