"""manage.py start: prepares the project and serves it on this machine."""

import errno
import fcntl
import os
import re
import socket
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from accounts import demo

HOST = "127.0.0.1"
FIRST_UNPRIVILEGED, LAST_PORT = 1024, 65535
BACKLOG = 2048
# A node needs about 200 MB of memory.
MAX_NODES = 20


class Command(BaseCommand):
    help = "Prepares the database and the static files, and serves the project on this machine."

    def add_arguments(self, parser: ArgumentParser) -> None:
        # A string, so that handle() reports an invalid value in one line.
        parser.add_argument("--port", default="8000")
        parser.add_argument(
            "--fleet",
            metavar="N",
            help="serve N nodes behind nginx, with a PostgreSQL and a Valkey started for them",
        )
        demo_users = parser.add_mutually_exclusive_group()
        demo_users.add_argument("--no-demo", action="store_true", help="do not create demo users")
        demo_users.add_argument(
            "--demo", action="store_true", help="create demo users outside DEBUG and in your own database as well"
        )

    def handle(self, *args: Any, port: str, **options: Any) -> None:
        number = whole_number("--port", port, 1, LAST_PORT)
        nodes = whole_number("--fleet", options["fleet"], 1, MAX_NODES) if options["fleet"] is not None else 0
        with listen(number) as listener:
            self.stdout.write("Preparing the database and the static files ...")
            self.prepare(migrates=not nodes)
            if not nodes:
                embedded = settings.DEBUG and not settings.DATABASE_URL
                self.print_welcome(number, wants_demo=options["demo"] or (embedded and not options["no_demo"]))
                self.stdout.flush()
                serve(listener)
        self.run_fleet(number, nodes)

    def prepare(self, migrates: bool) -> None:
        """One `start` at a time: two concurrent migrations disturb each other."""
        try:
            with start_lock():
                call_command("collectstatic", interactive=False, verbosity=0)
                if migrates:
                    call_command("migrate", verbosity=0)
        except OSError as error:
            raise CommandError(
                f"{error.filename or settings.VAR_DIR} cannot be written to ({error.strerror})."
                " Make it writable for this account, or start another copy of the project."
            ) from error
        except Error as error:
            database = "DATABASE_URL" if settings.DATABASE_URL else f"SQLite, {settings.DATABASES['default']['NAME']}"
            cause = next(iter(str(error).splitlines()), type(error).__name__)
            raise CommandError(f"The database ({database}) cannot be prepared: {cause}") from error

    def run_fleet(self, port: int, nodes: int) -> None:
        """Returns when the user interrupts it."""
        try:
            from tests.chaos.local_fleet import run_fleet

            run_fleet(port, nodes, self.stdout)
        except ImportError as error:
            command = "pip install -r tests/requirements.txt"
            raise CommandError(f"--fleet needs the requirements of the tests. Run: {command} ({error})") from error
        except RuntimeError as error:
            raise CommandError(str(error)) from error

    def print_welcome(self, port: int, wants_demo: bool) -> None:
        base = f"http://{HOST}:{port}"
        people = demo.make_people() if wants_demo else []
        name, password = (people[0].username, people[0].password) if people else ("NAME", "PASSWORD")
        self.stdout.write(f"\n  {settings.SITE_NAME} is running          stop: Ctrl-C\n\n  pages   {base}/\n")
        self.stdout.write(f"  admin   {base}/admin/\n  store   {store()}\n")
        if people:
            self.stdout.write("\n  Demo users (shown once; to set one: DEBUG=true manage.py changepassword NAME)\n")
        for person in people:
            self.stdout.write(f"    {person.username:<6} {person.password:<42} {person.description}\n")
        self.stdout.write(CURL_LINES.format(base=base, name=name, password=password))


CURL_LINES = """
  Try the API
    curl {base}/api/token/ -H 'Content-Type: application/json' \\
      -d '{{"username": "{name}", "password": "{password}"}}'
    curl {base}/api/me/ -H 'Authorization: Bearer ACCESS'
    curl {base}/api/sign-ins/ -H 'Authorization: Bearer ACCESS'
  Then sign it out at {base}/accounts/sign-ins/ and send the last request again.

"""


def store() -> str:
    database = settings.DATABASES["default"]
    redis = "with Redis" if settings.REDIS_URL else "without Redis: for one node"
    return f"{database['ENGINE'].rpartition('.')[2]} {database['NAME']} ({redis})"


def whole_number(option: str, text: object, low: int, high: int) -> int:
    """Raises CommandError."""
    if re.fullmatch(r"[0-9]{1,9}", str(text)) and low <= int(str(text)) <= high:
        return int(str(text))
    raise CommandError(f"{option} {text}: expected a whole number from {low} to {high}.")


def listen(port: int) -> socket.socket:
    """Binds the port before the preparations, so that another `start` cannot use it. Raises CommandError."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(BACKLOG)
    except PermissionError as error:
        listener.close()
        raise CommandError(f"This account may not listen on port {port}. Try {free_port_option(port)}") from error
    except OSError as error:
        listener.close()
        problem = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be listened on ({error.strerror})"
        raise CommandError(f"Port {port} {problem}. Try {free_port_option(port)}") from error
    return listener


def free_port_option(port: int) -> str:
    """The next free port, or the next below, as an option."""
    first = max(port + 1, FIRST_UNPRIVILEGED)
    candidates = chain(range(first, LAST_PORT + 1), range(first - 1, FIRST_UNPRIVILEGED - 1, -1))
    free = next((candidate for candidate in candidates if candidate != port and is_free(candidate)), None)
    return f"--port {free}" if free else "none"


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


@contextmanager
def start_lock() -> Iterator[None]:
    """Waits until another `start` in this folder has finished its preparations."""
    settings.VAR_DIR.mkdir(mode=0o700, exist_ok=True)
    file = os.open(settings.VAR_DIR / "start.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def serve(listener: socket.socket) -> NoReturn:
    """Replaces this process by the application server, which then receives Ctrl-C directly."""
    arguments = [sys.executable, "-m", "gunicorn", "project.wsgi", "--bind", f"fd://{listener.fileno()}"]
    arguments += ["--workers", str(settings.WEB_CONCURRENCY), "--threads", "4", "--log-level", "warning"]
    # The control socket would be in the home folder, which may not exist.
    arguments += ["--no-control-socket", "--config", "python:project.start_config"]
    listener.set_inheritable(True)
    os.chdir(settings.BASE_DIR)
    os.execv(sys.executable, arguments)  # noqa: S606
