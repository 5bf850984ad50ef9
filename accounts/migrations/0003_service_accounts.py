from django.db import migrations, models

import accounts.models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_sign_in_audience")]

    operations = [
        migrations.AddField(
            model_name="user",
            name="is_service",
            field=models.BooleanField(
                default=False,
                help_text="Another service, not a person: it signs in by the API only.",
                verbose_name="service account",
            ),
        ),
        migrations.AddField(
            model_name="user",
            name="scopes",
            field=models.CharField(
                blank=True,
                default="",
                help_text="What a service account may do, separated by spaces: introspect.",
                max_length=200,
                validators=[accounts.models.check_scopes],
                verbose_name="scopes",
            ),
            preserve_default=False,
        ),
    ]
