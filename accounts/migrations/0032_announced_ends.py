from django.db import migrations, models


class Migration(migrations.Migration):
    """Marks the ends that code announces. Database triggers revoke the sign-ins that end otherwise."""

    dependencies = [
        ("accounts", "0031_plain_words"),
    ]

    operations = [
        migrations.AddField(
            model_name="signin",
            name="is_end_announced",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
    ]
