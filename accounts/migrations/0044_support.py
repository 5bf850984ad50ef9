import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Sign-ins in which a staff member acts as the user, and the permissions for them."""

    dependencies = [
        ("accounts", "0043_sign_in_max_age"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="signin",
            options={
                "base_manager_name": "objects",
                "ordering": ["-last_seen_at"],
                "permissions": [
                    ("end_signin", "Can end sign-ins of others"),
                    ("end_everyone", "Can end everyone's sign-ins, superusers' too"),
                    ("sign_in_as", "Can sign in as users, and read what they can"),
                    ("change_as", "Can make changes while signed in as a user"),
                ],
                "verbose_name": "sign-in",
                "verbose_name_plural": "sign-ins",
            },
        ),
        migrations.AddField(
            model_name="signin",
            name="actor",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="staff member",
            ),
        ),
        migrations.AddField(
            model_name="signin",
            name="actor_sid",
            field=models.UUIDField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="signin",
            name="is_read_only",
            field=models.BooleanField(db_default=False, default=False, editable=False, verbose_name="read only"),
        ),
        migrations.AddField(
            model_name="signin",
            name="is_acting",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
    ]
