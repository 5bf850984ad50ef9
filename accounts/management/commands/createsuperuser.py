import os
from typing import Any

from django.contrib.auth.management.commands import createsuperuser
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import IntegrityError
from django.db.models import Field

from accounts.models import User


class Command(createsuperuser.Command):
    """Django's, which knows neither that addresses are unique nor that names are, in whatever case."""

    def handle(self, *args: Any, **options: Any) -> None:
        email = options["email"] or (not options["interactive"] and os.environ.get("DJANGO_SUPERUSER_EMAIL"))
        if email and (refusal := refusal_of("email", email)):
            raise CommandError(refusal)
        try:
            super().handle(*args, **options)
        except IntegrityError as error:
            # Between the check and the insert.
            raise CommandError("A user with that username or e-mail address already exists.") from error

    def _validate_username(self, username: str, verbose_field_name: str, database: str) -> str | None:
        # Django's stubs do not know this method.
        refusal: str | None = super()._validate_username(username, verbose_field_name, database)  # type: ignore[misc]
        return refusal or refusal_of("username", username)

    def get_input_data(self, field: "Field[Any, Any]", message: str, default: Any = None) -> Any:
        value = super().get_input_data(field, message, default)
        refusal = refusal_of(field.name, value) if value and field.name == "email" else None
        if refusal:
            self.stderr.write(f"Error: {refusal}")
            return None
        return value


def refusal_of(field: str, value: str) -> str | None:
    """Why no other account may have that."""
    others = {each.name for each in User._meta.fields} - {field}
    try:
        User(**{field: value}).validate_constraints(exclude=others)
    except ValidationError as error:
        return "; ".join(error.messages)
    return None
