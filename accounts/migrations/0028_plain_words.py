import django.core.validators
from django.db import migrations, models

import accounts.models


class Migration(migrations.Migration):
    """Labels, help texts and choices only: no change of the database."""

    dependencies = [
        ("accounts", "0027_email_change_events"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="lock",
            options={
                "base_manager_name": "objects",
                "default_permissions": ["view"],
                "ordering": ["-until"],
                "permissions": [("lift_lock", "Can lift locks")],
                "verbose_name": "attempt counter",
            },
        ),
        migrations.AlterField(
            model_name="lock",
            name="account",
            field=models.UUIDField(db_index=True, editable=False, null=True, verbose_name="digest of the username"),
        ),
        migrations.AlterField(
            model_name="lock",
            name="count",
            field=models.PositiveIntegerField(db_default=0, verbose_name="attempts"),
        ),
        migrations.AlterField(
            model_name="lock",
            name="ip_address",
            field=models.GenericIPAddressField(null=True, verbose_name="IP address or IPv6 network"),
        ),
        migrations.AlterField(
            model_name="lock",
            name="kind",
            field=models.CharField(
                choices=[
                    ("pair", "password attempts: one account, one IP address"),
                    ("account", "password attempts: one account, all IP addresses"),
                    ("address", "password attempts: one IP address, all accounts"),
                    ("device", "password attempts: one account, a known browser"),
                    ("inside", "password attempts: one account, while signed in"),
                    ("reset", "password reset e-mails to one e-mail address"),
                    ("resetting", "password resets requested from one IP address"),
                    ("sign_up", "usernames and e-mail addresses checked from one IP address"),
                    ("confirm", "confirmation e-mails to one e-mail address"),
                    ("confirming", "confirmation e-mails requested by one account"),
                    ("changing", "e-mail address changes requested by one account"),
                    ("notice", "notices to one e-mail address"),
                    ("notifying", "notices about one account"),
                    ("urgent", "urgent notices of one type, in addition to other notices"),
                    ("summary", "summaries that replace notices"),
                ],
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="securityevent",
            name="type",
            field=models.CharField(
                choices=[
                    ("signed_up", "signed up"),
                    ("signed_in", "signed in"),
                    ("sign_in_failed", "sign-in failed"),
                    ("signed_out", "signed out"),
                    ("sign_in_ended", "sign-in ended"),
                    ("token_reused", "refresh token used twice"),
                    ("password_changed", "password changed"),
                    ("password_reset_asked", "password reset requested"),
                    ("password_reset", "password reset"),
                    ("email_confirmed", "e-mail address confirmed"),
                    ("email_change_asked", "e-mail address change requested"),
                    ("email_change_cancelled", "e-mail address change cancelled"),
                    ("email_changed", "e-mail address changed"),
                    ("user_deactivated", "account deactivated"),
                    ("locked", "locked after too many attempts"),
                    ("unlocked", "unlocked"),
                    ("user_reactivated", "account reactivated"),
                    ("user_edited", "account edited by staff"),
                    ("rights_changed", "permissions changed"),
                    ("token_revoked", "access token revoked"),
                    ("token_blocked", "leaked token blocked"),
                    ("block_lifted", "token unblocked"),
                    ("events_exported", "events exported"),
                ],
                max_length=30,
            ),
        ),
        migrations.AlterField(
            model_name="signin",
            name="end_reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("signed_out", "signed out"),
                    ("ended_by_user", "ended by the user"),
                    ("ended_by_staff", "ended by staff"),
                    ("password_changed", "password changed"),
                    ("user_deactivated", "account deactivated"),
                    ("user_deleted", "account deleted"),
                    ("token_reused", "refresh token used twice"),
                ],
                max_length=20,
            ),
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
