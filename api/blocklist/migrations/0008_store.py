import uuid

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def name_this_store(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("blocklist", "Store").objects.using(schema_editor.connection.alias).create()


class Migration(migrations.Migration):
    """A key for this database, by which processes notice that it was restored."""

    dependencies = [
        ("blocklist", "0007_owners_of_entries"),
    ]

    operations = [
        migrations.CreateModel(
            name="Store",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.UUIDField(default=uuid.uuid4)),
            ],
        ),
        migrations.RunPython(name_this_store, migrations.RunPython.noop),
    ]
