from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("blocklist", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="StatusIndex",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
            ],
        ),
        migrations.AddField(
            model_name="entry",
            name="status_index",
            field=models.BigIntegerField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(
                condition=models.Q(("status_index__isnull", False)), fields=["status_index"], name="entry_status_index"
            ),
        ),
    ]
