from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# Finds people, ends their sign-ins, reads what happened, and nothing else.
PERMISSIONS = [
    ("user", "view_user", "Can view user"),
    ("signin", "view_signin", "Can view sign-in"),
    ("signin", "end_signin", "Can end sign-ins of others"),
    ("securityevent", "view_securityevent", "Can view security event"),
]


def make_group(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Django makes permissions after all migrations, and takes those that it finds for its own."""
    using = schema_editor.connection.alias
    content_types = apps.get_model("contenttypes", "ContentType").objects.using(using)
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    group, _ = apps.get_model("auth", "Group").objects.using(using).get_or_create(name="Support")
    for model, codename, name in PERMISSIONS:
        content_type, _ = content_types.get_or_create(app_label="accounts", model=model)
        permission, _ = permissions.get_or_create(content_type=content_type, codename=codename, defaults={"name": name})
        group.permissions.add(permission)


def remove_group(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("auth", "Group").objects.using(schema_editor.connection.alias).filter(name="Support").delete()


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0012_sign_in_lists"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.RunPython(make_group, remove_group),
    ]
