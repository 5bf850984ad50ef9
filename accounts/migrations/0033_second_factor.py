"""Second factors, the signed steps that were used, and what was proved in each sign-in."""

import uuid

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0032_announced_ends"),
    ]

    operations = [
        migrations.CreateModel(
            name="UsedStep",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("until", models.DateTimeField(db_index=True)),
            ],
        ),
        migrations.AddField(
            model_name="signin",
            name="methods",
            field=models.CharField(blank=True, db_default="", default="", editable=False, max_length=100),
        ),
        migrations.CreateModel(
            name="AuthenticatorApp",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(blank=True, db_default="", max_length=60, verbose_name="name")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("last_used_at", models.DateTimeField(editable=False, null=True)),
                ("failures", models.PositiveIntegerField(db_default=0, default=0, editable=False)),
                ("disabled_at", models.DateTimeField(editable=False, null=True)),
                ("secret", models.BinaryField()),
                ("confirmed_at", models.DateTimeField(editable=False, null=True)),
                ("last_used_step", models.BigIntegerField(db_default=0, default=0, editable=False)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "verbose_name": "authenticator app",
                "verbose_name_plural": "authenticator apps",
                "ordering": ["created_at", "pk"],
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Passkey",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(blank=True, db_default="", max_length=60, verbose_name="name")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("last_used_at", models.DateTimeField(editable=False, null=True)),
                ("failures", models.PositiveIntegerField(db_default=0, default=0, editable=False)),
                ("disabled_at", models.DateTimeField(editable=False, null=True)),
                ("credential_id", models.BinaryField(max_length=1023, unique=True)),
                ("public_key", models.BinaryField()),
                ("user_handle", models.BinaryField(max_length=64)),
                ("sign_count", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("aaguid", models.UUIDField(editable=False)),
                ("transports", models.CharField(blank=True, db_default="", editable=False, max_length=100)),
                ("is_backup_eligible", models.BooleanField(editable=False)),
                ("is_backed_up", models.BooleanField(editable=False)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "verbose_name": "passkey",
                "verbose_name_plural": "passkeys",
                "ordering": ["created_at", "pk"],
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="RecoveryCodeSet",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(blank=True, db_default="", max_length=60, verbose_name="name")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("last_used_at", models.DateTimeField(editable=False, null=True)),
                ("failures", models.PositiveIntegerField(db_default=0, default=0, editable=False)),
                ("disabled_at", models.DateTimeField(editable=False, null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "verbose_name": "recovery codes",
                "verbose_name_plural": "recovery codes",
                "ordering": ["created_at", "pk"],
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="RecoveryCode",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveSmallIntegerField()),
                ("hash", models.CharField(editable=False, max_length=128)),
                ("used_at", models.DateTimeField(editable=False, null=True)),
                (
                    "code_set",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="codes", to="accounts.recoverycodeset"
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="recoverycodeset",
            constraint=models.UniqueConstraint(fields=("user",), name="one_recovery_code_set"),
        ),
        migrations.AddConstraint(
            model_name="recoverycode",
            constraint=models.UniqueConstraint(fields=("code_set", "number"), name="recovery_code_number"),
        ),
    ]
