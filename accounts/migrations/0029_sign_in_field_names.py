"""Standard names for two fields of a sign-in. The columns keep their names, so that older nodes go on."""

import django.db.models.functions.datetime
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0028_callable_choices")]

    operations = [
        migrations.AlterField(
            model_name="signin",
            name="bound_to",
            field=models.CharField(
                blank=True, db_column="bound_to", db_default="", default="", editable=False, max_length=43
            ),
        ),
        migrations.RenameField(model_name="signin", old_name="bound_to", new_name="key_thumbprint"),
        migrations.AlterField(
            model_name="signin",
            name="proved_at",
            field=models.DateTimeField(
                db_column="proved_at",
                db_default=django.db.models.functions.datetime.Now(),
                default=django.utils.timezone.now,
                editable=False,
            ),
        ),
        migrations.RenameField(model_name="signin", old_name="proved_at", new_name="authenticated_at"),
    ]
