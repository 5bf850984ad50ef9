import django.core.validators
import django.db.models.functions.text
from django.db import migrations, models

import accounts.look_alikes
import accounts.models.user_querysets


class Migration(migrations.Migration):
    """
    Users who move in may have no e-mail address, and letters outside ASCII in their names. The code before this
    migration finds addresses by `email_of_before`, which the next release can remove. To go back, give each user an
    address first: only one could be without.
    """

    dependencies = [
        ("accounts", "0045_support_indexes"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="user",
            index=models.Index(django.db.models.functions.text.Lower("email"), name="email_of_before"),
        ),
        migrations.AlterField(
            model_name="user",
            name="email",
            field=models.EmailField(
                blank=True,
                max_length=254,
                validators=[
                    django.core.validators.RegexValidator(
                        "^[\\x21\\x23-\\x27\\x2a-\\x5a\\x5e-\\x7e]*$",
                        "Enter an e-mail address in plain ASCII, without quotes, brackets or comments.",
                    )
                ],
                verbose_name="e-mail address",
            ),
        ),
        migrations.AlterField(
            model_name="user",
            name="username",
            field=models.CharField(
                error_messages={"unique": "A user with that username already exists."},
                help_text="Letters, digits and @ . + - _ only.",
                max_length=150,
                unique=True,
                validators=[accounts.look_alikes.validate_username],
                verbose_name="username",
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.UniqueConstraint(
                django.db.models.functions.text.Lower(accounts.models.user_querysets.NullIfBlank("email")),
                name="email_unique_or_blank",
                violation_error_code="email_taken",
                violation_error_message="A user with that e-mail address already exists.",
            ),
        ),
        migrations.RemoveConstraint(model_name="user", name="email_case_insensitive"),
    ]
