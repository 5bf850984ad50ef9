from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0023_mark_unused_accounts"),
    ]

    operations = [
        migrations.AlterField(
            model_name="lock",
            name="kind",
            field=models.CharField(
                choices=[
                    ("pair", "an account, from one address"),
                    ("account", "an account, from anywhere"),
                    ("address", "an address, at any account"),
                    ("device", "an account, from a browser where its owner is known"),
                    ("inside", "an account, from inside: its owner is signed in"),
                    ("reset", "password reset mails to an address"),
                    ("resetting", "password resets asked from an address"),
                    ("sign_up", "names and addresses asked for from an address"),
                    ("confirm", "confirmation mails to an address"),
                    ("confirming", "confirmation mails asked for by an account"),
                    ("changing", "changes of address asked for by an account"),
                ],
                max_length=10,
            ),
        ),
    ]
