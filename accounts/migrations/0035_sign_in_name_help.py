"""The help text of the name of a sign-in: browsers can have names, too. No SQL."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0034_factor_removal"),
    ]

    operations = [
        migrations.AlterField(
            model_name="signin",
            name="name",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Name that the user gave it.",
                max_length=60,
                verbose_name="name",
            ),
        ),
    ]
