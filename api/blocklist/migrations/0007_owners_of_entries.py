import uuid

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.utils import timezone

# Up to here, the token_id of an entry of a user was that user's id.
LAST_USER_ID = uuid.UUID(int=2**63 - 1)

POSTGRESQL = [
    """
    CREATE FUNCTION fill_owner_of_blocklist_entry() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.owner_id := ('x' || right(replace(NEW.token_id::text, '-', ''), 16))::bit(64)::bigint;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER blocklist_entry_owner BEFORE INSERT ON blocklist_entry FOR EACH ROW
    WHEN (NEW.kind = 'sub' AND NEW.owner_id IS NULL)
    EXECUTE FUNCTION fill_owner_of_blocklist_entry()
    """,
]
POSTGRESQL_BACK = [
    "DROP TRIGGER blocklist_entry_owner ON blocklist_entry",
    "DROP FUNCTION fill_owner_of_blocklist_entry()",
]

# SQLite reads no hexadecimal numbers: digit by digit. It fills the column after the insert, in the same statement.
DIGITS = " | ".join(
    f"(instr('123456789abcdef', substr(token_id, {17 + digit}, 1)) << {4 * (15 - digit)})" for digit in range(16)
)
SQLITE = [
    f"""
    CREATE TRIGGER blocklist_entry_owner AFTER INSERT ON blocklist_entry
    WHEN NEW.kind = 'sub' AND NEW.owner_id IS NULL
    BEGIN UPDATE blocklist_entry SET owner_id = {DIGITS} WHERE id = NEW.id; END
    """  # noqa: S608 (constants of this file)
]
SQLITE_BACK = ["DROP TRIGGER blocklist_entry_owner"]


def add_trigger(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    statements = {"postgresql": POSTGRESQL, "sqlite": SQLITE}
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


def drop_trigger(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    statements = {"postgresql": POSTGRESQL_BACK, "sqlite": SQLITE_BACK}
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


def fill_owners(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    entries = apps.get_model("blocklist", "Entry").objects.using(schema_editor.connection.alias)
    for entry in entries.filter(kind="sub", owner_id=None, token_id__lte=LAST_USER_ID).iterator():
        entries.filter(pk=entry.pk).update(owner_id=entry.token_id.int)


def lift_mistaken_entries(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """An id that staff pasted, and that blocked a user or everybody. No token has it."""
    entries = apps.get_model("blocklist", "Entry").objects.using(schema_editor.connection.alias)
    mistaken = entries.filter(kind="jti", token_id__lte=LAST_USER_ID, lifted_at=None).exclude(why="")
    mistaken.update(lifted_at=timezone.now())


class Migration(migrations.Migration):
    """
    Fills the owner of each entry of a user: of those that are there, and, by a trigger, of those that nodes of the
    release before add while they still serve. The trigger goes with the release that no longer serves beside them; a
    later migration that makes SQLite copy this table has to add it anew until then.
    """

    dependencies = [
        ("blocklist", "0006_wholesale_by_kind"),
    ]

    operations = [
        migrations.RunPython(add_trigger, drop_trigger),
        migrations.RunPython(fill_owners, migrations.RunPython.noop),
        migrations.RunPython(lift_mistaken_entries, migrations.RunPython.noop),
    ]
