"""The table of receivers of security events: one row for each, with what was sent."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0037_restore"),
    ]

    operations = [
        migrations.CreateModel(
            name="EventReceiver",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=255, unique=True)),
                ("last_id", models.BigIntegerField(db_default=0, default=0)),
                ("gaps", models.JSONField(default=list)),
                ("sent_at", models.DateTimeField(null=True)),
            ],
            options={"default_permissions": ()},
        ),
    ]
