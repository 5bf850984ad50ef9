from django.db import migrations, models


class Migration(migrations.Migration):
    """A permission for each thing that staff may do to others, and the events that tell of it."""

    dependencies = [
        ("accounts", "0009_time_ordered_sign_ins"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="user",
            options={
                "base_manager_name": "objects",
                "permissions": [
                    ("deactivate_user", "Can deactivate and reactivate users"),
                    ("send_password_reset", "Can send password resets to users"),
                ],
                "verbose_name": "user",
                "verbose_name_plural": "users",
            },
        ),
        migrations.AlterModelOptions(
            name="securityevent",
            options={
                "base_manager_name": "objects",
                "ordering": ["-id"],
                "permissions": [("export_securityevent", "Can export security events")],
                "verbose_name": "security event",
            },
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
                    ("password_reset_asked", "password reset asked"),
                    ("password_reset", "password reset"),
                    ("email_confirmed", "e-mail address confirmed"),
                    ("email_changed", "e-mail address changed"),
                    ("user_deactivated", "account deactivated"),
                    ("locked", "locked after wrong guesses"),
                    ("unlocked", "unlocked"),
                    ("user_reactivated", "account reactivated"),
                    ("user_edited", "account edited by staff"),
                    ("rights_changed", "rights changed"),
                    ("token_blocked", "leaked token blocked"),
                    ("block_lifted", "block of a token lifted"),
                    ("events_exported", "events exported"),
                ],
                max_length=30,
            ),
        ),
    ]
