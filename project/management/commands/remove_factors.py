"""manage.py remove_factors: removes all second factors of a user at once."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import ngettext

from accounts.factors import removals
from accounts.models import AccountChanged
from project.management.commands.end_sign_ins import user_of


class Command(BaseCommand):
    help = (
        "Removes all second factors of a user who has lost them, at once, and ends all sign-ins of the user, who can"
        " then sign in with the password alone. In the admin, the same takes effect after 24 hours."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", required=True, metavar="NAME", help="the user (username or e-mail address)")
        parser.add_argument("--why", required=True, metavar="TEXT", help="the reason, recorded in the security events")

    def handle(self, *args: Any, user: str, why: str, **options: Any) -> None:
        owner = user_of(user)
        if not why.strip():
            raise CommandError("--why: enter the reason. It is recorded in the security events.")
        try:
            removed = removals.remove_at_once(owner, why)
        except AccountChanged as error:
            raise CommandError(f"{owner.username} is deactivated: its factors are not removed.") from error
        self.stdout.write(ngettext("%d factor removed.", "%d factors removed.", removed) % removed)
