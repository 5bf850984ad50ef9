from django.db import migrations, models


class Migration(migrations.Migration):
    """What staff ask of the events: the newest, of one type, from one address."""

    dependencies = [
        ("accounts", "0010_staff_permissions"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="securityevent",
            index=models.Index(fields=["-created_at"], name="event_newest"),
        ),
        migrations.AddIndex(
            model_name="securityevent",
            index=models.Index(fields=["type", "-created_at"], name="event_type_newest"),
        ),
        migrations.AddIndex(
            model_name="securityevent",
            index=models.Index(fields=["ip_address"], name="event_address"),
        ),
    ]
