from django.db import migrations, models


class Migration(migrations.Migration):
    """Indexes of the few support sign-ins, which end with the staff member's own."""

    dependencies = [
        ("accounts", "0044_support"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="signin",
            index=models.Index(
                condition=models.Q(("actor__isnull", False)),
                fields=["actor"],
                name="sign_in_actor",
            ),
        ),
        migrations.AddIndex(
            model_name="signin",
            index=models.Index(
                condition=models.Q(("actor_sid__isnull", False)),
                fields=["actor_sid"],
                name="sign_in_actor_sid",
            ),
        ),
    ]
