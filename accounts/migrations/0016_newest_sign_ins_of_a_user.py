from django.db import migrations, models


class Migration(migrations.Migration):
    """By their start, which never changes, so that neither a refresh nor a last-seen time touches an index."""

    dependencies = [
        ("accounts", "0015_bound_tokens"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="signin",
            index=models.Index(fields=["user", "-created_at"], name="sign_in_user_newest"),
        ),
        migrations.RemoveIndex(
            model_name="signin",
            name="sign_in_user_last_seen",
        ),
    ]
