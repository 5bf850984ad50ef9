"""Restores from backups: links and steps that were issued before them are refused."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0036_queued_mail"),
    ]

    operations = [
        migrations.CreateModel(
            name="Restore",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("restored_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={"default_permissions": []},
        ),
    ]
