from django.db import migrations, models


class Migration(migrations.Migration):
    """The maximum age of a sign-in with shorter limits: of a staff member, or of a member of a group."""

    dependencies = [
        ("accounts", "0042_device_codes"),
    ]

    operations = [
        migrations.AddField(
            model_name="signin",
            name="max_age",
            field=models.DurationField(editable=False, null=True),
        ),
    ]
