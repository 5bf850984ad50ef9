from django.db import migrations


class Migration(migrations.Migration):
    """A permission of its own: whoever ends everyone's sign-ins ends superusers' too, which Support may not."""

    dependencies = [
        ("accounts", "0017_room_for_refreshes"),
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
                ],
                "verbose_name": "sign-in",
            },
        ),
    ]
