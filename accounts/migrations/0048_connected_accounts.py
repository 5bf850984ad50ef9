import uuid

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Accounts at providers by which users sign in. No code before it reads the table."""

    dependencies = [
        ("accounts", "0047_moved_in"),
    ]

    operations = [
        migrations.CreateModel(
            name="ConnectedAccount",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("provider", models.CharField(max_length=30, verbose_name="provider")),
                ("subject", models.CharField(max_length=255, verbose_name="id at the provider")),
                ("label", models.CharField(blank=True, db_default="", max_length=254, verbose_name="name")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("last_used_at", models.DateTimeField(editable=False, null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="connected_accounts",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "connected account",
                "verbose_name_plural": "connected accounts",
                "ordering": ["created_at", "pk"],
                "default_permissions": [],
                "constraints": [
                    models.UniqueConstraint(fields=["provider", "subject"], name="one_user_of_connected_account")
                ],
            },
        ),
    ]
