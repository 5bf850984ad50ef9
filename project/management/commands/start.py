import os
import socket
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from accounts import demo

HOST = "127.0.0.1"


class Command(BaseCommand):
    help = "Prepares the database and the static files, and serves the project on this machine."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument(
            "--fleet",
            type=int,
            metavar="N",
            help="N nodes behind nginx, on a PostgreSQL and a Valkey of their own, to play with",
        )
        people = parser.add_mutually_exclusive_group()
        people.add_argument("--no-demo", action="store_true", help="make no demo people")
        people.add_argument(
            "--demo", action="store_true", help="make demo people outside DEBUG or on a database of your own, too"
        )

    def handle(self, *args: Any, port: int, **options: Any) -> None:
        if not is_free(port):
            raise CommandError(f"Port {port} is taken. The next free one: --port {next_free(port)}")
        self.stdout.write("Preparing the database and the static files ...")
        call_command("collectstatic", interactive=False, verbosity=0)
        if options["fleet"]:
            self.play(port, options["fleet"])
            return
        call_command("migrate", verbosity=0)
        embedded = settings.DEBUG and not settings.DATABASE_URL
        self.introduce(port, wants_demo=options["demo"] or (embedded and not options["no_demo"]))
        self.stdout.flush()
        serve(port)

    def play(self, port: int, nodes: int) -> None:
        """Returns when it is interrupted."""
        try:
            from tests.faults.play import play

            play(port, nodes, self.stdout)
        except ImportError as error:
            needed = "pip install -r tests/requirements.txt"
            raise CommandError(f"The fleet is made of what the tests are made of: {needed} ({error})") from error
        except RuntimeError as error:
            raise CommandError(str(error)) from error

    def introduce(self, port: int, wants_demo: bool) -> None:
        base = f"http://{HOST}:{port}"
        people = demo.make_people() if wants_demo else []
        name, password = (people[0].username, people[0].password) if people else ("NAME", "PASSWORD")
        self.stdout.write(f"\n  Wristband & Passport is running          stop: Ctrl-C\n\n  pages   {base}/\n")
        self.stdout.write(f"  admin   {base}/admin/\n  store   {store()}\n")
        if people:
            self.stdout.write("\n  Demo people (shown once; for another: DEBUG=true manage.py changepassword NAME)\n")
        for person in people:
            self.stdout.write(f"    {person.username:<6} {person.password:<42} {person.who}\n")
        self.stdout.write(CURL_LINES.format(base=base, name=name, password=password))


CURL_LINES = """
  Try the API
    curl {base}/api/token/ -H 'Content-Type: application/json' \\
      -d '{{"username": "{name}", "password": "{password}"}}'
    curl {base}/api/me/ -H 'Authorization: Bearer ACCESS'
    curl {base}/api/sign-ins/ -H 'Authorization: Bearer ACCESS'
  then end that sign-in at {base}/accounts/sign-ins/ and call again.

"""


def store() -> str:
    database = settings.DATABASES["default"]
    redis = "with Redis" if settings.REDIS_URL else "no Redis: fine for one node"
    return f"{database['ENGINE'].rpartition('.')[2]} {database['NAME']} ({redis})"


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def next_free(port: int) -> int:
    return next(candidate for candidate in range(port + 1, 65536) if is_free(candidate))


def serve(port: int) -> None:
    """Becomes the application server, so that Ctrl-C reaches it and nothing else is left to stop."""
    arguments = [sys.executable, "-m", "gunicorn", "project.wsgi", "--bind", f"{HOST}:{port}"]
    workers = os.environ.get("WEB_CONCURRENCY", "4")
    # The control socket is in the home folder, which there need not be.
    arguments += ["--workers", workers, "--threads", "4", "--log-level", "warning", "--no-control-socket"]
    os.chdir(settings.BASE_DIR)
    os.execv(sys.executable, arguments)  # noqa: S606
