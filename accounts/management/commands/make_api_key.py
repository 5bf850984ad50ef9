"""manage.py make_api_key: creates an API key of a service account."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from accounts import api_keys
from accounts.models import KeyScope, SignIn, SignInRefused, User

NAME_MAX_LENGTH: int = SignIn._meta.get_field("name").max_length  # type: ignore[assignment]


class Command(BaseCommand):
    help = "Creates an API key of a service account and prints it. A person creates keys on the page “Developer”."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("service")
        parser.add_argument("name", help="shown in the list of sign-ins")
        parser.add_argument("--scope", action="append", choices=KeyScope.values, dest="scopes", help="by default: read")
        parser.add_argument("--days", type=int, default=min(api_keys.DEFAULT_DAYS, settings.API_KEY_MAX.days))

    def handle(self, *args: Any, service: str, name: str, scopes: list[str] | None, days: int, **options: Any) -> None:
        user = User.objects.filter(username=service, is_service=True).first()
        if user is None:
            raise CommandError(f"There is no service account {service}.")
        if not name.strip() or len(name) > NAME_MAX_LENGTH:
            raise CommandError(f"The name must have 1 to {NAME_MAX_LENGTH} characters.")
        if not 0 < days <= settings.API_KEY_MAX.days:
            raise CommandError(f"--days must be from 1 to {settings.API_KEY_MAX.days} (API_KEY_MAX_DAYS).")
        try:
            sign_in, key = api_keys.make(user, name, scopes or [KeyScope.READ], timedelta(days=days))
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        except SignInRefused as error:
            raise CommandError("The account is not active, or must use tokens that are bound to a key.") from error
        self.stdout.write(key)
        self.stderr.write(f"This key expires at {sign_in.expires_at:%Y-%m-%d %H:%M} UTC.")
