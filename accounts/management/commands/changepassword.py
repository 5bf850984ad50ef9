"""manage.py changepassword: accepts a username or an e-mail address."""

from typing import Any

from django.contrib.auth.management.commands import changepassword

from accounts.models import User


class Command(changepassword.Command):
    """As Django's, for a username or an e-mail address, ignoring case."""

    def handle(self, *args: Any, **options: Any) -> str | None:
        user = User.objects.using(options["database"]).get_by_login(options["username"])
        return super().handle(*args, **options | {"username": user.username if user else options["username"]})
