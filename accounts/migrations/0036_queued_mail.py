"""The proxy of a task of django-tasks-db that is a mail, for its permission and its list in the admin. No SQL."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0035_sign_in_name_help"),
        ("django_tasks_database", "0021_conditional_partial_index_ordering"),
    ]

    operations = [
        migrations.CreateModel(
            name="QueuedMail",
            fields=[],
            options={
                "verbose_name": "e-mail in the queue",
                "verbose_name_plural": "e-mails in the queue",
                "ordering": ["-enqueued_at"],
                "proxy": True,
                "default_permissions": ["view"],
                "indexes": [],
                "constraints": [],
            },
            bases=("django_tasks_database.dbtaskresult",),
        ),
    ]
