"""The command `keys`: list the keys that sign and verify tokens, publish, promote and retire them."""

import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from api.keys.folder import KeyState
from api.keys.key import KEY_GENERATORS, Key, derived_keys
from api.keys.ring import POLL_SECONDS
from api.keys.rotation import Rotation, StepRefused

NEXT_STEP = {KeyState.PUBLISHED: "promote", KeyState.VERIFYING: "retire"}


class Command(BaseCommand):
    help = "Lists the keys in JWT_KEYS, publishes a new one, promotes it to sign, or retires one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        steps = parser.add_subparsers(dest="step", title="steps (none: list the keys)")
        new = steps.add_parser("new", help="publish a key that does not sign yet")
        new.add_argument("--algorithm", choices=KEY_GENERATORS, default="ES256")
        for step, help_text in {
            "promote": "sign with this key from now on",
            "retire": "delete this key; the tokens it signed become invalid",
        }.items():
            each = steps.add_parser(step, help=help_text)
            each.add_argument("kid", help="the id of the key, or the beginning of the id")
            each.add_argument("--force", action="store_true", help="do so even if users are signed out by it")

    def handle(self, *args: Any, step: str | None, **options: Any) -> None:
        if not settings.JWT_KEYS:
            raise CommandError(
                "JWT_KEYS is not set: tokens are signed with a key derived from SECRET_KEY. Set it to a folder."
            )
        self.rotation = Rotation(settings.JWT_KEYS)
        try:
            self.run_step(step, options) if step else self.list()
        except (StepRefused, ImproperlyConfigured, OSError) as error:
            raise CommandError(str(error)) from error

    def run_step(self, step: str, options: dict[str, Any]) -> None:
        if step == "new":
            kid = self.rotation.publish(options["algorithm"])
        else:
            kid = self.find_kid(options["kid"])
            (self.rotation.promote if step == "promote" else self.rotation.retire)(kid, options["force"])
        # By then every process that reads this folder has polled it.
        time.sleep(2 * POLL_SECONDS)
        self.stdout.write(f"{kid} {'is published' if step == 'new' else f'is {step}d'}.")

    def find_kid(self, beginning: str) -> str:
        found = [kid for kid in self.rotation.statuses() if kid.startswith(beginning)]
        if len(found) != 1:
            raise CommandError(f"{len(found)} keys begin with {beginning}. Give more or other characters of the id.")
        return found[0]

    def list(self) -> None:
        known = self.rotation.folder.keys() | {key.kid: key for key in derived_keys()}
        line = "{:<43}  {:<9}  {:<9}  {:<16}  {}"
        self.stdout.write(line.format("kid", "algorithm", "state", "since (UTC)", "safe to"))
        for kid, status in self.rotation.statuses().items():
            self.stdout.write(
                line.format(kid, algorithm_of(known.get(kid)), status.state, f"{status.since:%Y-%m-%d %H:%M}", "")
                + self.next_step(status)
            )
        for file in self.rotation.folder.unreadable:
            self.stderr.write(f"Cannot be read: {file}")

    def next_step(self, status: Any) -> str:
        at = self.rotation.next_step_at(status)
        return f"{NEXT_STEP[status.state]} from {at:%Y-%m-%d %H:%M}" if at else ""


def algorithm_of(key: Key | None) -> str:
    return key.algorithm if key else "no file"
