import time
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand
from django.utils.translation import ngettext
from tqdm import tqdm

from accounts.models import AttemptCounter, SecurityEvent, Session, SignIn, User
from api.blocklist.models import Entry

PRUNED: list[Any] = [User, Session, SignIn, Entry, SecurityEvent, AttemptCounter]


class Command(BaseCommand):
    help = (
        "Ends in their rows the sign-ins that were shut out wholesale, where that was left half-way. Then deletes what"
        " has served its time, in small batches, beside traffic: expired sessions, sign-ins that ended"
        " SIGN_IN_KEEP_DAYS ago, expired blocklist entries, security events older than EVENT_KEEP_DAYS, locks past use,"
        " throw-away accounts, and accounts that signed up UNCONFIRMED_KEEP_DAYS ago and were never confirmed or used."
        " May be stopped and repeated at any time."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count, and delete nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        ended = Entry.objects.unfinished_count() if dry_run else unhurried(Entry.objects.finish_ending(), "ends")
        sign_ins = ngettext("%d sign-in", "%d sign-ins", ended) % ended
        self.stdout.write(f"ends left half-way: {sign_ins} {'to be ' if dry_run else ''}ended")
        for model in PRUNED:
            prunable = model.objects.prunable().count()
            pruned = prunable if dry_run else prune(model, prunable)
            self.stdout.write(f"{model._meta.verbose_name_plural}: {pruned} {'to be ' if dry_run else ''}deleted")


def prune(model: Any, total: int) -> int:
    return unhurried(model.objects.prune(), str(model._meta.verbose_name_plural), total)


def unhurried(batches: Iterator[int], what: str, total: int | None = None) -> int:
    done = 0
    with tqdm(total=total, desc=what, unit="", disable=None) as bar:
        started = time.monotonic()
        for number in batches:
            done += number
            bar.update(number)
            # As long a rest as the work took: others write meanwhile.
            time.sleep(time.monotonic() - started)
            started = time.monotonic()
    return done
