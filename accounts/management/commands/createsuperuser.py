"""manage.py createsuperuser: refuses usernames and e-mail addresses that are taken."""

import os
from typing import Any

from django.contrib.auth.management.commands import createsuperuser
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import IntegrityError
from django.db.models import Field

from accounts import registration
from accounts.models import User


class Command(createsuperuser.Command):
    """As Django's, with the constraints of User: usernames and e-mail addresses are unique, ignoring case."""

    def handle(self, *args: Any, **options: Any) -> None:
        email = options["email"] or (not options["interactive"] and os.environ.get("DJANGO_SUPERUSER_EMAIL"))
        if email and (message := uniqueness_error("email", email)):
            raise CommandError(message)
        try:
            super().handle(*args, **options)
        except IntegrityError as error:
            # Another process created the account after the check.
            raise CommandError("A user with that username or e-mail address already exists.") from error

    def _validate_username(self, username: str, verbose_field_name: str, database: str) -> str | None:
        # Django's stubs do not have this method.
        error: str | None = super()._validate_username(username, verbose_field_name, database)  # type: ignore[misc]
        return error or name_error(username) or uniqueness_error("username", username)

    def get_input_data(self, field: "Field[Any, Any]", message: str, default: Any = None) -> Any:
        value = super().get_input_data(field, message, default)
        problem = uniqueness_error(field.name, value) if value and field.name == "email" else None
        if problem:
            self.stderr.write(f"Error: {problem}")
            return None
        return value


def name_error(username: str) -> str | None:
    """The error text for a name that no new account may have; None otherwise."""
    try:
        registration.validate_new_username(username)
    except ValidationError as error:
        return "; ".join(error.messages)
    return None


def uniqueness_error(field: str, value: str) -> str | None:
    """The error text if another account has this value; None otherwise."""
    others = {each.name for each in User._meta.fields} - {field}
    try:
        User(**{field: value}).validate_constraints(exclude=others)
    except ValidationError as error:
        return "; ".join(error.messages)
    return None
