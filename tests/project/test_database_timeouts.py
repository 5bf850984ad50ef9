"""Timeouts of PostgreSQL statements, in requests and in commands."""

import os
import subprocess
import sys

import pytest
from django.db import connection

from tests import servers

pytestmark = [
    pytest.mark.once,
    pytest.mark.long,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite waits for nothing but its lock"),
]

A_SLOW_STATEMENT = """
import time
from django.db import OperationalError, connection
cursor = connection.cursor()
try:
    cursor.execute("SELECT pg_sleep(3)")
except OperationalError as error:
    print(type(error.__cause__).__name__)
connection.close_if_unusable_or_obsolete()
# After a timeout the next statement is possible a second later.
time.sleep(1.1)
with connection.cursor() as cursor:
    cursor.execute("SHOW idle_in_transaction_session_timeout")
    print(*cursor.fetchone())
"""


def output_of(*command: str, **env: str) -> list[str]:
    made = subprocess.run(
        [sys.executable, *command],
        cwd=servers.ROOT,
        env=os.environ | {"DATABASE_TIMEOUT_SECONDS": "1", "DJANGO_SETTINGS_MODULE": "tests.chaos.settings"} | env,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return made.stdout.split()


def test_postgresql_cancels_a_slow_statement_of_a_request() -> None:
    assert output_of("-c", f"import project.wsgi\n{A_SLOW_STATEMENT}") == ["QueryCanceled", "1s"]


def test_a_client_side_timeout_replaces_options_behind_a_pooler() -> None:
    code = f"import project.asgi\n{A_SLOW_STATEMENT}"
    assert output_of("-c", code, DATABASE_PGBOUNCER="true")[1:] == ["0"]


def test_a_command_has_no_statement_timeout() -> None:
    assert output_of("manage.py", "shell", "--verbosity=0", "--command", A_SLOW_STATEMENT) == ["0"]
