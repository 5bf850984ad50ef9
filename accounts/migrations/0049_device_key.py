from django.db import migrations, models


class Migration(migrations.Migration):
    """The key of the device that a browser's sign-in is bound to (DBSC). Columns with defaults: no table is rewritten."""

    dependencies = [
        ("accounts", "0048_connected_accounts"),
    ]

    operations = [
        migrations.AddField(
            model_name="signin",
            name="device_key",
            field=models.TextField(blank=True, db_default="", default="", editable=False),
        ),
        migrations.AddField(
            model_name="signin",
            name="bound_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
