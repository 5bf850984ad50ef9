from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import ngettext
from tqdm import tqdm

from accounts import addresses, origin
from accounts.models import SignIn, SignInQuerySet, User

REASON = SignIn.Reason.ENDED_BY_STAFF


class Command(BaseCommand):
    help = (
        "Ends sign-ins, in both modes. With --all, --before and --user no token works from the first moment on, and the"
        " rest is ended in batches. May be stopped and repeated at any time."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("--all", action="store_true", help="everybody's")
        whose.add_argument("--user", metavar="NAME", help="that user's; a username, or an e-mail address")
        whose.add_argument(
            "--before", type=moment, metavar="MOMENT", help="those that started up to then, e.g. 2026-11-25T14:00+01:00"
        )
        whose.add_argument("--ip", type=address, metavar="ADDRESS", help="those that started from that address")
        parser.add_argument("--why", default="", metavar="WORDS", help="to be kept in the security events")

    def handle(self, *args: Any, why: str, **options: Any) -> None:
        sign_ins, ends = self.chosen(options)
        ended = 0
        with origin.because(why), tqdm(total=sign_ins.filter(ended_at=None).count(), unit="", disable=None) as bar:
            for number in ends:
                ended += number
                bar.update(number)
        self.stdout.write(ngettext("%d sign-in ended.", "%d sign-ins ended.", ended) % ended)

    def chosen(self, options: dict[str, Any]) -> tuple[SignInQuerySet, Iterator[int]]:
        if options["user"]:
            user = User.objects.by_name(options["user"])
            if user is None:
                raise CommandError("There is no user of that name or e-mail address.")
            return user.sign_ins.all(), SignIn.objects.end_all_in_batches(user, REASON)
        if options["before"]:
            up_to = SignIn.objects.filter(created_at__lte=options["before"])
            return up_to, SignIn.objects.end_before(options["before"], REASON)
        if options["ip"]:
            from_there = SignIn.objects.filter(ip_address__in=addresses.spellings(options["ip"]))
            return from_there, from_there.end_in_batches(REASON)
        return SignIn.objects.all(), SignIn.objects.end_everything(REASON)


def moment(text: str) -> datetime:
    """A moment in the past; without an offset, in UTC. Raises ValueError."""
    parsed = parse_datetime(text)
    if parsed is None:
        raise ValueError(text)
    parsed = timezone.make_aware(parsed) if timezone.is_naive(parsed) else parsed
    if parsed > timezone.now():
        raise ValueError(text)
    return parsed


def address(text: str) -> str:
    """Raises ValueError."""
    parsed = addresses.canonical(text)
    if parsed is None:
        raise ValueError(text)
    return parsed
