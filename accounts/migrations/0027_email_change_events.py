from django.db import migrations, models


class Migration(migrations.Migration):
    """Choices only: the database is left as it is, and so are the triggers that keep events append-only."""

    dependencies = [
        ("accounts", "0026_notices"),
    ]

    operations = [
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
                    ("password_reset_asked", "password reset asked"),
                    ("password_reset", "password reset"),
                    ("email_confirmed", "e-mail address confirmed"),
                    ("email_change_asked", "e-mail address change requested"),
                    ("email_change_cancelled", "e-mail address change cancelled"),
                    ("email_changed", "e-mail address changed"),
                    ("user_deactivated", "account deactivated"),
                    ("locked", "locked after wrong guesses"),
                    ("unlocked", "unlocked"),
                    ("user_reactivated", "account reactivated"),
                    ("user_edited", "account edited by staff"),
                    ("rights_changed", "rights changed"),
                    ("token_revoked", "access token revoked"),
                    ("token_blocked", "leaked token blocked"),
                    ("block_lifted", "block of a token lifted"),
                    ("events_exported", "events exported"),
                ],
                max_length=30,
            ),
        ),
    ]
