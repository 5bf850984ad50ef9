"""Lock becomes AttemptCounter. The table and the permissions keep their names, so that older nodes go on."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0029_sign_in_field_names")]

    operations = [
        migrations.AlterModelTable(name="lock", table="accounts_lock"),
        migrations.RenameModel(old_name="Lock", new_name="AttemptCounter"),
        migrations.AlterField(
            model_name="attemptcounter",
            name="user",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="attempt_counters",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterModelOptions(
            name="attemptcounter",
            options={
                "base_manager_name": "objects",
                "default_permissions": [],
                "ordering": ["-until"],
                "permissions": [("view_lock", "Can view locks"), ("lift_lock", "Can lift locks")],
                "verbose_name": "attempt counter",
            },
        ),
    ]
