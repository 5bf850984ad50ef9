from django.db import migrations, models


class Migration(migrations.Migration):
    """API keys: sign-ins with the hash of a secret, and with scopes."""

    dependencies = [
        ("accounts", "0040_visible_names"),
    ]

    operations = [
        migrations.AddField(
            model_name="signin",
            name="key_hash",
            field=models.CharField(blank=True, db_default="", default="", editable=False, max_length=64),
        ),
        migrations.AddField(
            model_name="signin",
            name="scopes",
            field=models.CharField(blank=True, db_default="", default="", editable=False, max_length=40),
        ),
    ]
