"""manage.py forward_events: sends the security events to another system."""

import signal
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from project.forwarding import forwarder


class Command(BaseCommand):
    help = (
        "Sends the security events to EVENTS_URL as they are committed, until it is stopped. Can be killed and started"
        " again at any time: it continues where it was. If several run, one of them sends."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--from-now",
            action="store_true",
            help="send a receiver to which nothing was sent before only the events after this moment, not all",
        )

    def handle(self, *args: Any, from_now: bool, **options: Any) -> None:
        if not settings.EVENTS_URL:
            raise CommandError("EVENTS_URL is not set.")
        sender = forwarder.Forwarder(settings.EVENTS_URL, from_now=from_now)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda *_: sender.stop())
        sender.run()
