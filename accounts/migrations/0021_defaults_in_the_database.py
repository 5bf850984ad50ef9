from django.db import migrations, models
from django.db.models.functions import Now
from django.utils import timezone

import accounts.models

DPOP_HELP = "Clients get tokens only if they prove to hold a key that the tokens are then bound to (DPoP)."


class Migration(migrations.Migration):
    """
    Nodes of an earlier release do not write the columns that were added after their time. The database fills them in,
    so that such nodes go on while the new release is rolled out.
    """

    dependencies = [
        ("accounts", "0020_token_revoked"),
    ]

    operations = [
        migrations.AlterField(
            model_name="user",
            name="is_service",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Another service, not a person: it signs in by the API only.",
                verbose_name="service account",
            ),
        ),
        migrations.AlterField(
            model_name="user",
            name="scopes",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="What a service account may do, separated by spaces: introspect.",
                max_length=200,
                validators=[accounts.models.check_scopes],
                verbose_name="scopes",
            ),
        ),
        migrations.AlterField(
            model_name="user",
            name="new_email",
            field=models.EmailField(blank=True, db_default="", default="", editable=False, max_length=254),
        ),
        migrations.AlterField(
            model_name="user",
            name="bound_tokens_only",
            field=models.BooleanField(
                db_default=False, default=False, help_text=DPOP_HELP, verbose_name="bound tokens only"
            ),
        ),
        migrations.AlterField(
            model_name="signin",
            name="audience",
            field=models.CharField(blank=True, db_default="", default="", editable=False, max_length=255),
        ),
        migrations.AlterField(
            model_name="signin",
            name="name",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="What its user calls a client.",
                max_length=60,
                verbose_name="name",
            ),
        ),
        migrations.AlterField(
            model_name="signin",
            name="proved_at",
            field=models.DateTimeField(db_default=Now(), default=timezone.now, editable=False),
        ),
        migrations.AlterField(
            model_name="signin",
            name="bound_to",
            field=models.CharField(blank=True, db_default="", default="", editable=False, max_length=43),
        ),
    ]
