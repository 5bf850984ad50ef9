"""Triggers of SQLite outlast migrations that rebuild tables, and flushes do not fire them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, migrations, models
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState

from accounts.models import Session, SignIn, User
from api.blocklist.models import Entry
from project.sqlite.triggers import triggers_of
from tests import servers
from tests.api.blocklist import raw_sql

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="tests SQLite"),
]
TABLES_WITH_TRIGGERS = {
    "accounts_securityevent",
    "accounts_session",
    "accounts_signin",
    "accounts_user",
    "blocklist_entry",
}

# An adopter's changes that SQLite makes by a rebuild of the table.
REBUILDS = [
    migrations.AlterField("User", "first_name", models.CharField(max_length=200, default="")),
    migrations.AddField("SignIn", "country", models.CharField(max_length=2, default="", unique=False)),
    migrations.AlterField("SignIn", "name", models.CharField(max_length=90, default="", db_default="")),
    migrations.AlterField("Session", "session_data", models.TextField(null=True)),
]


def state_of(executor: MigrationExecutor) -> ProjectState:
    return executor.loader.project_state(executor.loader.graph.leaf_nodes())


def tables_with_triggers() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tbl_name FROM sqlite_master WHERE type = 'trigger'")
        return {table for (table,) in cursor.fetchall()}


def migrate(operation: Any, is_backward: bool = False) -> None:
    before = state_of(MigrationExecutor(connection))
    after = before.clone()
    operation.state_forwards("accounts", after)
    with connection.schema_editor() as editor:
        if is_backward:
            operation.database_backwards("accounts", editor, after, before)
        else:
            operation.database_forwards("accounts", editor, before, after)


@pytest.mark.parametrize("operation", REBUILDS, ids=lambda each: f"{each.model_name}.{each.name}")
def test_a_rebuild_of_a_table_restores_the_triggers(
    operation: Any, ann: User, client_of: Callable[[User], Any]
) -> None:
    before = triggers_of(connection)
    client = client_of(ann)
    migrate(operation)
    forward = triggers_of(connection)
    migrate(operation, is_backward=True)
    assert triggers_of(connection) == forward == before
    assert client.get("/api/me/").status_code == 200
    raw_sql.set_a_password(ann)
    assert client.get("/api/me/").status_code == 401


def test_each_table_has_its_triggers() -> None:
    assert tables_with_triggers() == TABLES_WITH_TRIGGERS


def test_a_flush_fires_no_triggers(ann: User, client_of: Callable[[User], Any]) -> None:
    client_of(ann)
    before = triggers_of(connection)
    call_command("flush", "--no-input", "--verbosity=0", inhibit_post_migrate=False)
    assert not any(model.objects.exists() for model in (User, SignIn, Session, Entry))
    assert triggers_of(connection) == before


@pytest.mark.long
def test_all_migrations_can_be_reversed_and_applied_again(tmp_path: Path) -> None:
    env = {"DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}", "DEBUG": "true", "REDIS_URL": ""}
    servers.manage(env, "migrate", "--verbosity=0")
    servers.manage(env, "migrate", "accounts", "zero", "--verbosity=0")
    servers.manage(env, "migrate", "--verbosity=0")
    listed = servers.manage(env, "shell", "--verbosity=0", "--command", LIST)
    assert set(listed.split()) == TABLES_WITH_TRIGGERS


LIST = """
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SELECT DISTINCT tbl_name FROM sqlite_master WHERE type = 'trigger'")
    print(*[table for (table,) in cursor.fetchall()])
"""
