from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_service_accounts")]

    operations = [
        migrations.AddField(
            model_name="signin",
            name="status_index",
            field=models.BigIntegerField(editable=False, null=True, unique=True),
        ),
    ]
