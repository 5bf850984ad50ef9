from django.db import migrations, models

import accounts.names


class Migration(migrations.Migration):
    """Names of users have no control characters. A rule of forms: the database does not change."""

    dependencies = [
        ("accounts", "0039_retry_mails"),
    ]

    operations = [
        migrations.AlterField(
            model_name="user",
            name="first_name",
            field=models.CharField(
                blank=True, max_length=150, validators=[accounts.names.validate_visible], verbose_name="first name"
            ),
        ),
        migrations.AlterField(
            model_name="user",
            name="last_name",
            field=models.CharField(
                blank=True, max_length=150, validators=[accounts.names.validate_visible], verbose_name="last name"
            ),
        ),
    ]
