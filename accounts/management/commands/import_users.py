"""manage.py import_users: takes the users of another site, a Django project."""

import os
from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError
from tqdm import tqdm

from accounts.moving_in import collisions, importing, old_factors, sources
from accounts.moving_in.collisions import Collision, Plan

# Of each rule. A list of thousands of names helps nobody: the count does.
MAX_NAMED = 20


class Command(BaseCommand):
    help = (
        "Imports the users of another Django project: names, password hashes, addresses, rights, second factors of"
        " allauth and django-otp and, with LEGACY_JWT_KEY or LEGACY_SESSION_KEY, what continues their sign-ins. Reads a"
        " database, a JSON file of dumpdata or a CSV file. Names each collision by its rule first, and then changes"
        " nothing unless --resolve is given. Can be stopped and repeated at any time: no user is imported twice."
        " Prints no hash."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "source",
            help="the URL of a database, env:NAME for one in an environment variable, or a .json or .csv file",
        )
        parser.add_argument("--dry-run", action="store_true", help="only name the collisions, and change nothing")
        parser.add_argument(
            "--resolve",
            action="store_true",
            help="import in spite of collisions, with the outcome that --dry-run names for each",
        )
        parser.add_argument(
            "--confirmed", action="store_true", help="take all addresses as confirmed, since that site required it"
        )
        parser.add_argument("--all", action="store_true", help=f"name all collisions, not {MAX_NAMED} of each rule")
        parser.add_argument("--table", default=sources.USER_TABLE, help="the table of the users (auth_user)")
        parser.add_argument("--model", default="auth.user", help="the model of the users in a dump (auth.user)")

    def handle(self, *args: Any, dry_run: bool, resolve: bool, **options: Any) -> None:
        source = sources.open_source(_source_of(options["source"]), options["table"], options["model"])
        factors = old_factors.OldFactors(source)
        with tqdm(total=source.count_users(), desc="check", unit="", disable=None) as bar:
            users, emails = _counted(source.users(), bar), source.rows("account_emailaddress")
            plan = collisions.make_plan(users, emails, factors.lost)
        run = importing.Import(source, plan, factors, is_confirmed=options["confirmed"])
        found = [*plan.collisions, *run.group_collisions()]
        self.report(found, None if options["all"] else MAX_NAMED)
        before, left_out = plan.imported_before, plan.left_out_count
        new = plan.total - before - left_out
        self.stdout.write(f"{plan.total} users: {before} imported before, {left_out} left out, {new} to import")
        if dry_run:
            return
        if any(not each.is_note for each in found) and not resolve:
            raise CommandError("Nothing was imported. Correct the collisions in the source, or add --resolve.")
        self.run(run, plan)

    def run(self, run: importing.Import, plan: Plan) -> None:
        if importing.takes_old_sign_ins():
            # Before the users: a revoked token is not taken, even if it is sent at this moment.
            run.counts["revoked tokens of the blacklist"] = run.blacklist()
        with tqdm(total=plan.total, desc="import", unit="", disable=None) as bar:
            try:
                for number in run.users():
                    bar.update(number)
            except IntegrityError:
                # Without its text, which names values.
                raise CommandError(
                    f"A name or id was taken meanwhile. {run.counts['users']} users were imported: run it again."
                ) from None
        if importing.takes_old_sign_ins():
            run.counts["sessions to continue"] = run.sessions()
        for what, number in run.counts.items():
            if number or what == "users":
                self.stdout.write(f"{what}: {number}")

    def report(self, found: list[Collision], limit: int | None) -> None:
        """Prints the collisions by rule, each with its outcome."""
        counts = Counter(each.rule for each in found)
        for rule, text in collisions.RULES.items():
            if not counts[rule]:
                continue
            self.stdout.write(f"{rule}: {counts[rule]} ({text})")
            named = [each for each in found if each.rule == rule]
            for each in named[:limit]:
                self.stdout.write(f"  {each.subject}: {each.outcome}")
            if limit is not None and len(named) > limit:
                self.stdout.write(f"  and {len(named) - limit} more: --all names them")


def _source_of(text: str) -> str:
    """The source of an argument. A URL with a password is better in a variable, since other users see arguments."""
    if not text.startswith("env:"):
        return text
    name = text.removeprefix("env:")
    if not (url := os.environ.get(name)):
        raise CommandError(f"The environment variable {name} is not set.")
    return url


def _counted(rows: Any, bar: Any) -> Any:
    for row in rows:
        yield row
        bar.update(1)
