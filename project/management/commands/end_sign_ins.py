"""manage.py end_sign_ins: ends the sign-ins of all users, of one user, before a time, or from an address."""

from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import ngettext
from tqdm import tqdm

from accounts import addresses, ending, names
from accounts.http import request_context
from accounts.models import SignIn, SignInQuerySet, User

REASON = SignIn.Reason.ENDED_BY_STAFF


class Command(BaseCommand):
    help = (
        "Ends sign-ins, in both modes. With --all, --before and --user all tokens are revoked at once, and the rows are"
        " updated in batches. Can be stopped and repeated at any time."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        scope = parser.add_mutually_exclusive_group(required=True)
        scope.add_argument("--all", action="store_true", help="the sign-ins of all users")
        scope.add_argument("--user", metavar="NAME", help="the sign-ins of this user (username or e-mail address)")
        scope.add_argument(
            "--before", metavar="TIME", help="sign-ins that started up to this time, e.g. 2026-11-25T14:00+01:00"
        )
        scope.add_argument("--ip", metavar="ADDRESS", help="sign-ins that started from this address")
        parser.add_argument("--why", default="", metavar="TEXT", help="the reason, recorded in the security events")

    def handle(self, *args: Any, why: str, **options: Any) -> None:
        sign_ins, ends = self.chosen(options)
        ended = 0
        with (
            request_context.acting(why),
            tqdm(total=sign_ins.filter(ended_at=None).count(), unit="", disable=None) as bar,
        ):
            for number in ends:
                ended += number
                bar.update(number)
        self.stdout.write(ngettext("%d sign-in ended.", "%d sign-ins ended.", ended) % ended)

    def chosen(self, options: dict[str, Any]) -> tuple[SignInQuerySet, Iterator[int]]:
        # Compared with None: an empty name must not select the sign-ins of all users.
        if options["user"] is not None:
            user = user_of(options["user"])
            return SignIn.objects.filter(user=user), ending.end_all_in_batches(user, REASON)
        if options["before"] is not None:
            up_to = past_time(options["before"])
            started_by_then = SignIn.objects.filter(created_at__lte=up_to)
            return started_by_then, ending.end_before(up_to, REASON)
        if options["ip"] is not None:
            from_address = SignIn.objects.filter(ip_address__in=addresses.spellings(address(options["ip"])))
            return from_address, from_address.end_in_batches(REASON)
        return SignIn.objects.all(), ending.end_everything(REASON)


def user_of(name: str) -> User:
    """The user with that username or e-mail address, ignoring case. Raises CommandError if there is none, or two."""
    users = list(User.objects.with_login(name)[:2]) if name.strip() else []
    if not users:
        raise CommandError(f"No user has the username{' or e-mail address' * ('@' in name)} {name!r}.")
    if len(users) == 2:
        owner, named = sorted(users, key=lambda user: names.same(user.username, name))
        raise CommandError(
            f"{name} is the e-mail address of {owner.username} and the username of another user ({named.email})."
            f" To select one of them, use --user {owner.username} or --user {named.email}."
        )
    return users[0]


def past_time(text: str) -> datetime:
    """Without an offset the time is in UTC. Raises CommandError."""
    try:
        parsed = parse_datetime(text)
        parsed = timezone.make_aware(parsed) if parsed and timezone.is_naive(parsed) else parsed
        up_to = parsed.astimezone(UTC) if parsed else None
    except (ValueError, OverflowError):
        up_to = None
    if up_to is None:
        raise CommandError(f"--before {text}: expected a time, such as 2026-11-25T14:00+01:00.")
    if up_to > timezone.now():
        raise CommandError(f"--before {text}: the time is in the future. To end all sign-ins, use --all.")
    return up_to


def address(text: str) -> str:
    """In canonical form, as in the rows. Raises CommandError."""
    parsed = addresses.canonical(text)
    if parsed is None:
        raise CommandError(f"--ip {text}: expected an IP address, such as 203.0.113.9.")
    return parsed
