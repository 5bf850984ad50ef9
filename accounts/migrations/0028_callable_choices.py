"""Choices as functions: a new kind, reason or type of event needs no migration. The database stays as it is."""

from django.db import migrations, models

import accounts.models.choices
import accounts.rate_limits


class Migration(migrations.Migration):
    dependencies = [("accounts", "0027_email_change_events")]

    operations = [
        migrations.AlterField(
            model_name="lock",
            name="kind",
            field=models.CharField(choices=accounts.rate_limits.kinds, max_length=10),
        ),
        migrations.AlterField(
            model_name="securityevent",
            name="type",
            field=models.CharField(choices=accounts.models.choices.event_types, max_length=30),
        ),
        migrations.AlterField(
            model_name="signin",
            name="end_reason",
            field=models.CharField(blank=True, choices=accounts.models.choices.end_reasons, max_length=20),
        ),
        migrations.AlterField(
            model_name="signin",
            name="kind",
            field=models.CharField(choices=accounts.models.choices.sign_in_kinds, max_length=10),
        ),
    ]
