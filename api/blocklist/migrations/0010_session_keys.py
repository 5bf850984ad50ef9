"""Entries for session keys: a process that remembers a session refuses a key that was replaced or deleted."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("blocklist", "0009_places_below"),
    ]

    operations = [
        migrations.AlterField(
            model_name="entry",
            name="kind",
            field=models.CharField(
                choices=[
                    ("sid", "all tokens of a sign-in"),
                    ("jti", "a single token"),
                    ("sub", "all tokens of a user"),
                    ("all", "all tokens of everybody"),
                    ("key", "a session key"),
                ],
                max_length=3,
            ),
        ),
        migrations.RemoveConstraint(model_name="entry", name="wholesale_entries_have_a_moment"),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("before__isnull", True), ("kind__in", ["sid", "jti", "key"])),
                    models.Q(("before__isnull", False), ("kind__in", ["sub", "all"])),
                    _connector="OR",
                ),
                name="wholesale_entries_have_a_moment",
            ),
        ),
    ]
