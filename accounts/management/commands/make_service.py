"""manage.py make_service: creates an account for another service."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from accounts import initial_passwords, registration
from accounts.models import User


class Command(BaseCommand):
    help = "Creates an account for another service and prints an initial password, which expires after three days."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--scope", action="append", choices=User.Scope.values, default=[], dest="scopes")

    def handle(self, *args: Any, name: str, scopes: list[str], **options: Any) -> None:
        try:
            service, password = registration.create_service(name, scopes)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(password)
        expires_at = initial_passwords.expires_at(service)
        self.stderr.write(
            f"This password expires at {expires_at:%Y-%m-%d %H:%M} UTC. Until then the service changes it at "
            f"/api/password/change/, or you do: manage.py changepassword {service.username}"
        )
