from django.db import migrations, models


class Migration(migrations.Migration):
    """After a restore, all places that were given before are marked in the status list."""

    dependencies = [
        ("blocklist", "0008_store"),
    ]

    operations = [
        migrations.AddField(
            model_name="entry",
            name="places_below",
            field=models.BigIntegerField(editable=False, null=True),
        ),
    ]
