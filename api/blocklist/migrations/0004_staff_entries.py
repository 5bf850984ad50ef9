import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """What staff block has a reason, and may be lifted."""

    dependencies = [
        ("blocklist", "0003_wholesale"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="entry",
            options={
                "base_manager_name": "objects",
                "ordering": ["-id"],
                "permissions": [
                    ("block_token", "Can block leaked tokens"),
                    ("lift_entry", "Can lift entries of the blocklist"),
                ],
                "verbose_name": "blocklist entry",
                "verbose_name_plural": "blocklist entries",
            },
        ),
        migrations.AddField(
            model_name="entry",
            name="why",
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name="entry",
            name="blocked_by",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="entry",
            name="lifted_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="entry",
            name="lifted_by",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(
                condition=models.Q(("blocked_by__isnull", False)), fields=["blocked_by"], name="entry_blocked_by"
            ),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(
                condition=models.Q(("lifted_at__isnull", False)), fields=["lifted_at"], name="entry_lifted_at"
            ),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(
                condition=models.Q(("lifted_by__isnull", False)), fields=["lifted_by"], name="entry_lifted_by"
            ),
        ),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("lifted_at__isnull", True),
                    models.Q(("kind", "jti"), models.Q(("why", ""), _negated=True)),
                    _connector="OR",
                ),
                name="only_staff_entries_are_lifted",
            ),
        ),
    ]
