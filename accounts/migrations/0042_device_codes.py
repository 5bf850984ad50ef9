from django.db import migrations, models


class Migration(migrations.Migration):
    """Devices that wait until their user allows them to sign in. No code before it reads the table."""

    dependencies = [
        ("accounts", "0041_api_keys"),
    ]

    operations = [
        migrations.CreateModel(
            name="DeviceCode",
            fields=[
                (
                    "id",
                    models.CharField(
                        max_length=64,
                        primary_key=True,
                        serialize=False,
                        verbose_name="SHA-256 of the device code",
                    ),
                ),
                (
                    "user_code",
                    models.UUIDField(editable=False, unique=True, verbose_name="digest of the user code"),
                ),
                ("client_name", models.CharField(max_length=60)),
                ("user_agent", models.CharField(blank=True, max_length=512)),
                ("ip_address", models.GenericIPAddressField(null=True)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(db_index=True)),
                ("polled_at", models.DateTimeField(null=True)),
                ("poll_seconds", models.PositiveSmallIntegerField(db_default=5, default=5)),
                (
                    "approved_in",
                    models.UUIDField(editable=False, null=True, verbose_name="sid of the browser that allowed it"),
                ),
                ("owner_id", models.BigIntegerField(editable=False, null=True)),
                ("generation", models.PositiveBigIntegerField(editable=False, null=True)),
                ("name", models.CharField(blank=True, db_default="", default="", max_length=60)),
                ("denied_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "device code",
                "verbose_name_plural": "device codes",
                "default_permissions": (),
            },
        ),
    ]
