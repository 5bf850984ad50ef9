from typing import Any

from django.db import migrations, models
from django.db.models import F
from django.utils import timezone


def when_they_began(apps: Any, schema_editor: Any) -> None:
    apps.get_model("accounts", "SignIn").objects.update(proved_at=F("created_at"))


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_lock")]

    operations = [
        migrations.AddField(
            model_name="signin",
            name="name",
            field=models.CharField(
                blank=True, help_text="What its user calls a client.", max_length=60, verbose_name="name"
            ),
        ),
        migrations.AddField(
            model_name="signin",
            name="proved_at",
            field=models.DateTimeField(default=timezone.now, editable=False),
        ),
        migrations.RunPython(when_they_began, migrations.RunPython.noop, elidable=True),
    ]
