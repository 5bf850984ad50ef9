from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def leave_room(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE accounts_signin SET (fillfactor = 90)")


def fill_up(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE accounts_signin RESET (fillfactor)")


class Migration(migrations.Migration):
    """
    A tenth of each page is left for the next version of a row in it, which then needs no index entry of its own
    (PostgreSQL: "Heap-Only Tuples").
    """

    dependencies = [
        ("accounts", "0016_newest_sign_ins_of_a_user"),
    ]

    operations = [
        migrations.RunPython(leave_room, fill_up),
    ]
