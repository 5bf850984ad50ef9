from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

MESSAGE = "Security events are append-only."

# Whoever deletes a user takes the name off what happened, and nobody puts another in its place.
POSTGRESQL = f"""
CREATE FUNCTION refuse_change_of_security_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '{MESSAGE}' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER security_event_append_only BEFORE UPDATE ON accounts_securityevent FOR EACH ROW
WHEN (
    to_jsonb(OLD) - 'user_id' - 'actor_id' IS DISTINCT FROM to_jsonb(NEW) - 'user_id' - 'actor_id'
    OR NEW.user_id IS NOT NULL AND NEW.user_id IS DISTINCT FROM OLD.user_id
    OR NEW.actor_id IS NOT NULL AND NEW.actor_id IS DISTINCT FROM OLD.actor_id
)
EXECUTE FUNCTION refuse_change_of_security_event();
"""
POSTGRESQL_BACK = """
DROP TRIGGER security_event_append_only ON accounts_securityevent;
DROP FUNCTION refuse_change_of_security_event();
"""

SQLITE = [
    f"""
    CREATE TRIGGER security_event_append_only
    BEFORE UPDATE OF id, type, sid, ip_address, user_agent, details, created_at ON accounts_securityevent
    BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END
    """,
    f"""
    CREATE TRIGGER security_event_keeps_names BEFORE UPDATE OF user_id, actor_id ON accounts_securityevent
    WHEN NEW.user_id IS NOT NULL AND NEW.user_id IS NOT OLD.user_id
      OR NEW.actor_id IS NOT NULL AND NEW.actor_id IS NOT OLD.actor_id
    BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END
    """,
]
SQLITE_BACK = [
    "DROP TRIGGER security_event_append_only",
    "DROP TRIGGER security_event_keeps_names",
]


def add_triggers(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    statements = {"postgresql": [POSTGRESQL], "sqlite": SQLITE}
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


def drop_triggers(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    statements = {"postgresql": [POSTGRESQL_BACK], "sqlite": SQLITE_BACK}
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    """
    Below the ORM too, nothing that happened is told otherwise. Not so of deleting: old events are pruned; grants on the
    table keep the rest from whom they should. A later migration that makes SQLite copy this table has to add the
    triggers anew.
    """

    dependencies = [
        ("accounts", "0013_support_group"),
    ]

    operations = [
        migrations.RunPython(add_triggers, drop_triggers),
    ]
