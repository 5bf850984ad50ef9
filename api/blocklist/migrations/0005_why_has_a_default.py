from django.db import migrations, models


class Migration(migrations.Migration):
    """Nodes of an earlier release do not write this column: the database fills it in."""

    dependencies = [
        ("blocklist", "0004_staff_entries"),
    ]

    operations = [
        migrations.AlterField(
            model_name="entry",
            name="why",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
    ]
