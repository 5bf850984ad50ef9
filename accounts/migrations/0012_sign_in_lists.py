from django.db import migrations, models


class Migration(migrations.Migration):
    """What staff ask of the sign-ins: the newest, from one address, ended for one reason."""

    dependencies = [
        ("accounts", "0011_event_lists"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="signin",
            index=models.Index(fields=["-created_at"], name="sign_in_newest"),
        ),
        migrations.AddIndex(
            model_name="signin",
            index=models.Index(fields=["ip_address"], name="sign_in_address"),
        ),
        migrations.AddIndex(
            model_name="signin",
            index=models.Index(
                condition=models.Q(("ended_at__isnull", False)),
                fields=["end_reason", "-created_at"],
                name="sign_in_end_reason",
            ),
        ),
    ]
