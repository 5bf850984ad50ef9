import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0024_lock_kinds"),
    ]

    operations = [
        migrations.AlterField(
            model_name="user",
            name="email",
            field=models.EmailField(
                max_length=254,
                validators=[
                    django.core.validators.RegexValidator(
                        "^[\\x21\\x23-\\x27\\x2a-\\x5a\\x5e-\\x7e]*$",
                        "Enter an address in plain ASCII, without quotes, brackets or comments.",
                    )
                ],
                verbose_name="e-mail address",
            ),
        ),
    ]
