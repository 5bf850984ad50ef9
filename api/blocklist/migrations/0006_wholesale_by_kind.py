from django.db import migrations, models


class Migration(migrations.Migration):
    """
    A wholesale entry is known by its kind and its moment, and names its user in a column of its own. Nodes of the
    release before leave that column empty: 0006 fills it.
    """

    dependencies = [
        ("blocklist", "0005_why_has_a_default"),
    ]

    operations = [
        migrations.AddField(
            model_name="entry",
            name="owner_id",
            field=models.BigIntegerField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(
                condition=models.Q(("before__isnull", False)), fields=["owner_id", "before"], name="entry_wholesale"
            ),
        ),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("before__isnull", True), ("kind__in", ["sid", "jti"])),
                    models.Q(("before__isnull", False), ("kind__in", ["sub", "all"])),
                    _connector="OR",
                ),
                name="wholesale_entries_have_a_moment",
            ),
        ),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.CheckConstraint(
                condition=models.Q(("owner_id__isnull", True), ("kind", "sub"), _connector="OR"),
                name="only_entries_of_a_user_have_an_owner",
            ),
        ),
    ]
