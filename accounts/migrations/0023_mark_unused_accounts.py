from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Exists, F, OuterRef


def mark_unused(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    using = schema_editor.connection.alias
    users = apps.get_model("accounts", "User")._base_manager.using(using)
    events = apps.get_model("accounts", "SecurityEvent")._base_manager.using(using)
    signed_up_here = Exists(events.filter(type="signed_up", user=OuterRef("pk")))
    never_used = users.filter(signed_up_here, last_login=None, email_confirmed_at=None, delete_after=None)
    never_used.update(unused_since=F("date_joined"))


class Migration(migrations.Migration):
    """
    Of the accounts that are there, those that are known to have signed up here and never signed in. Whether an account
    that signed in once was used further is not known: it is kept.
    """

    dependencies = [
        ("accounts", "0022_user_unused_since"),
    ]

    operations = [
        migrations.RunPython(mark_unused, migrations.RunPython.noop),
    ]
