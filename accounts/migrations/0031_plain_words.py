"""Labels and help texts in plain words. The database stays as it is."""

import django.core.validators
from django.db import migrations, models

import accounts.models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0030_attempt_counter"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="attemptcounter",
            options={
                "base_manager_name": "objects",
                "default_permissions": [],
                "ordering": ["-until"],
                "permissions": [("view_lock", "Can view locks"), ("lift_lock", "Can lift locks")],
                "verbose_name": "attempt counter",
                "verbose_name_plural": "attempt counters",
            },
        ),
        migrations.AlterModelOptions(
            name="securityevent",
            options={
                "base_manager_name": "objects",
                "ordering": ["-id"],
                "permissions": [("export_securityevent", "Can export security events")],
                "verbose_name": "security event",
                "verbose_name_plural": "security events",
            },
        ),
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
                "verbose_name_plural": "sign-ins",
            },
        ),
        migrations.AlterField(
            model_name="attemptcounter",
            name="account",
            field=models.UUIDField(db_index=True, editable=False, null=True, verbose_name="digest of the username"),
        ),
        migrations.AlterField(
            model_name="attemptcounter",
            name="count",
            field=models.PositiveIntegerField(db_default=0, verbose_name="attempts"),
        ),
        migrations.AlterField(
            model_name="attemptcounter",
            name="ip_address",
            field=models.GenericIPAddressField(null=True, verbose_name="IP address or IPv6 network"),
        ),
        migrations.AlterField(
            model_name="signin",
            name="name",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Name that the user gave the client.",
                max_length=60,
                verbose_name="name",
            ),
        ),
        migrations.AlterField(
            model_name="user",
            name="bound_tokens_only",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Clients receive tokens only with a DPoP proof. The tokens are bound to the key of that proof.",
                verbose_name="bound tokens only",
            ),
        ),
        migrations.AlterField(
            model_name="user",
            name="email",
            field=models.EmailField(
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
            name="is_service",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="This account belongs to a service, not a person. It can sign in only through the API.",
                verbose_name="service account",
            ),
        ),
        migrations.AlterField(
            model_name="user",
            name="scopes",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Scopes of a service account, separated by spaces: introspect.",
                max_length=200,
                validators=[accounts.models.check_scopes],
                verbose_name="scopes",
            ),
        ),
    ]
