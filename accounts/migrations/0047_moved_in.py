import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """
    Users who moved in from another site, and their tokens and sessions there. Code before it does not know the tables,
    and deletes users: their foreign keys have no constraint.
    """

    dependencies = [
        ("accounts", "0046_names_of_before"),
    ]

    operations = [
        migrations.CreateModel(
            name="MovedInUser",
            fields=[
                ("old_id", models.CharField(editable=False, max_length=64, primary_key=True, serialize=False)),
                (
                    "user",
                    models.OneToOneField(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("imported_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("sign_in_id", models.UUIDField(editable=False, null=True)),
                (
                    "session_hash",
                    models.CharField(blank=True, db_default="", default="", editable=False, max_length=64),
                ),
                ("token_hash", models.CharField(blank=True, db_default="", default="", editable=False, max_length=64)),
            ],
            options={
                "verbose_name": "import record",
                "verbose_name_plural": "import records",
            },
        ),
        migrations.CreateModel(
            name="OldCredential",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("until", models.DateTimeField(db_index=True)),
                ("used_at", models.DateTimeField(editable=False, null=True)),
                ("sign_in_id", models.UUIDField(editable=False, null=True)),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "sign-in of the site before",
                "verbose_name_plural": "sign-ins of the site before",
            },
        ),
    ]
