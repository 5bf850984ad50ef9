"""manage.py db_worker: sends the mails of the queue, and runs other tasks."""

import argparse
import logging
from typing import Any

from django_tasks_db.compat import TASKS_LOGGER
from django_tasks_db.management.commands import db_worker

from accounts.mail_worker import Worker


class Command(db_worker.Command):
    help = (
        "Sends the mails of the queue, and runs other tasks of django-tasks. Any number may run. Stops at SIGTERM or"
        " Ctrl-C after the mail that it sends; a second signal returns that mail to the queue."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        # The library's default is DEBUG: two processes, and a worker that does not stop in order.
        parser.set_defaults(reload=False)
        # `manage.py start` is the parent: the worker ends with it.
        parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)

    def configure_logging(self, verbosity: int) -> None:
        """The library logs each task, each look at the queue, and each stop."""
        level = logging.ERROR if verbosity <= 1 else logging.INFO
        for name in (TASKS_LOGGER, "django_tasks_db"):
            logging.getLogger(name).setLevel(level)

    def handle(self, *, verbosity: int, queue_name: str, exclude_queues: str, **options: Any) -> None:
        self.configure_logging(verbosity)
        names = ("parent", "interval", "batch", "backend_name", "startup_delay", "max_tasks", "worker_id")
        worker = Worker(
            queue_names=queue_name.split(","),
            excluded_queue_names=exclude_queues.split(",") if exclude_queues else [],
            **{name: options[name] for name in names},
        )
        worker.configure_signals()
        worker.run()
