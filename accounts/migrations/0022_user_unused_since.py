from django.db import migrations, models


class Migration(migrations.Migration):
    """Marks accounts that signed up here and were never used: `prune` deletes no others for want of use."""

    dependencies = [
        ("accounts", "0021_defaults_in_the_database"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="unused_since",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
