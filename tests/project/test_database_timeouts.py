"""How long PostgreSQL is waited for: by what answers requests, and by commands."""

import os
import subprocess
import sys

import pytest
from django.db import connection

from tests import servers

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite waits for nothing but its lock")

A_SLOW_STATEMENT = """
import time
from django.db import OperationalError, connection
cursor = connection.cursor()
try:
    cursor.execute("SELECT pg_sleep(3)")
except OperationalError as error:
    print(type(error.__cause__).__name__)
connection.close_if_unusable_or_obsolete()
# One that was silent is asked again a second later.
time.sleep(1.1)
with connection.cursor() as cursor:
    cursor.execute("SHOW idle_in_transaction_session_timeout")
    print(*cursor.fetchone())
"""


def told_by(*command: str, **env: str) -> list[str]:
    made = subprocess.run(
        [sys.executable, *command],
        cwd=servers.ROOT,
        env=os.environ | {"DATABASE_TIMEOUT_SECONDS": "1", "DJANGO_SETTINGS_MODULE": "tests.chaos.settings"} | env,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return made.stdout.split()


def test_a_slow_statement_of_a_request_is_ended_by_postgresql() -> None:
    assert told_by("-c", f"import project.wsgi\n{A_SLOW_STATEMENT}") == ["QueryCanceled", "1s"]


def test_where_a_pooler_takes_no_options_the_wait_ends_on_our_side_and_the_next_statement_connects_anew() -> None:
    code = f"import project.asgi\n{A_SLOW_STATEMENT}"
    assert told_by("-c", code, DATABASE_PGBOUNCER="true")[1:] == ["0"]


def test_a_command_takes_its_time() -> None:
    assert told_by("manage.py", "shell", "--verbosity=0", "--command", A_SLOW_STATEMENT) == ["0"]
