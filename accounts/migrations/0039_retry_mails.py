from django.db import migrations


class Migration(migrations.Migration):
    """The permission to send failed mails again. No SQL."""

    dependencies = [
        ("accounts", "0038_event_receiver"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="queuedmail",
            options={
                "default_permissions": ["view"],
                "ordering": ["-enqueued_at"],
                "permissions": [("retry_queuedmail", "Can try failed e-mails again")],
                "verbose_name": "e-mail in the queue",
                "verbose_name_plural": "e-mails in the queue",
            },
        ),
    ]
