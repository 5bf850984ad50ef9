"""manage.py prune: deletes expired rows."""

import time
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand
from django.utils.translation import ngettext
from tqdm import tqdm

from accounts.factors import removals
from accounts.models import (
    AttemptCounter,
    DeviceCode,
    FactorRemoval,
    MovedInUser,
    OldCredential,
    QueuedMail,
    SecurityEvent,
    Session,
    SignIn,
    User,
)
from api.blocklist.models import Entry

PRUNED: list[Any] = [
    User,
    Session,
    SignIn,
    Entry,
    SecurityEvent,
    AttemptCounter,
    FactorRemoval,
    QueuedMail,
    DeviceCode,
    OldCredential,
    MovedInUser,
]


class Command(BaseCommand):
    help = (
        "Finishes mass revocations that were interrupted: marks the rows of revoked sign-ins as ended."
        " Carries out the removals of second factors that are due. Then deletes, in"
        " small batches beside traffic: expired sessions, sign-ins that ended SIGN_IN_KEEP_DAYS ago, expired blocklist"
        " entries, security events older than EVENT_KEEP_DAYS, outdated attempt counters, throw-away accounts after"
        " their day, accounts that signed up UNCONFIRMED_KEEP_DAYS ago and were never confirmed or used, and mails that"
        " failed 30 days ago."
        " Can be stopped and repeated at any time."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count, and delete nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        ended = Entry.objects.unfinished_count() if dry_run else run_throttled(Entry.objects.finish_ending(), "ends")
        sign_ins = ngettext("%d sign-in", "%d sign-ins", ended) % ended
        self.stdout.write(f"unfinished revocations: {sign_ins} {'to be ' if dry_run else ''}ended")
        due = FactorRemoval.objects.due().count() if dry_run else run_throttled(removals.carry_out_all(), "removals")
        self.stdout.write(f"due removals of second factors: {due} {'to be ' if dry_run else ''}carried out")
        for model in PRUNED:
            prunable = model.objects.prunable().count()
            pruned = prunable if dry_run else prune(model, prunable)
            self.stdout.write(f"{model._meta.verbose_name_plural}: {pruned} {'to be ' if dry_run else ''}deleted")


def prune(model: Any, total: int) -> int:
    return run_throttled(model.objects.prune(), str(model._meta.verbose_name_plural), total)


def run_throttled(batches: Iterator[int], label: str, total: int | None = None) -> int:
    """Pauses after each batch for as long as the batch took, so that other writers get the database."""
    done = 0
    with tqdm(total=total, desc=label, unit="", disable=None) as bar:
        started = time.monotonic()
        for number in batches:
            done += number
            bar.update(number)
            time.sleep(time.monotonic() - started)
            started = time.monotonic()
    return done
