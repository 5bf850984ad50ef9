"""
Processes that write with the models of the previous release while the database is migrated.

test_rolling_update.py runs the code of that release, for which it needs the history of the repository. This one needs
the migrations only, and so also runs on a copy without history.
"""

import os
import subprocess
import sys
import uuid

import pytest

from tests import servers
from tests.project import releases

WRITERS = 2
LEAST_ROWS = 20
WRITE = "from tests.project import old_models; old_models.write_until({!r}, {!r})"


@pytest.fixture
def env():
    """The environment of a database of the previous release."""
    url = servers.create_database(os.environ["DATABASE_URL"], f"old_{uuid.uuid4().hex}")
    env = {"DATABASE_URL": url, "DEBUG": "true"}
    for migration in releases.PREVIOUS_MIGRATIONS.items():
        servers.manage(env, "migrate", *migration, "--verbosity=0")
    return env


def start_writer(env, log, stop):
    code = WRITE.format(str(stop), list(releases.PREVIOUS_MIGRATIONS.items()))
    with log.open("w") as out:
        command = [sys.executable, "manage.py", "shell", "--verbosity=0", "--command", code]
        return subprocess.Popen(command, cwd=servers.ROOT, env=os.environ | env, stdout=out, stderr=subprocess.STDOUT)


@pytest.mark.long
@pytest.mark.once
@pytest.mark.timeout(200)
def test_old_models_write_while_the_database_is_migrated(env, tmp_path):
    stop, logs = tmp_path / "stop", [tmp_path / f"log{number}" for number in range(WRITERS)]
    writers = [start_writer(env, log, stop) for log in logs]
    try:
        wait_for_rows(writers, logs, LEAST_ROWS)
        servers.manage(env, "migrate", "--verbosity=0")
        wait_for_rows(writers, logs, max(map(rows_in, logs)) + LEAST_ROWS)
    finally:
        stop.touch()
        statuses = [writer.wait(30) for writer in writers]
    assert statuses == [0] * WRITERS, [log.read_text()[-2000:] for log in logs]


def rows_in(log):
    return len(log.read_text().splitlines())


def wait_for_rows(writers, logs, least):
    """Waits until each writer has written so many, or one has ended with an error."""
    servers.wait_until(
        lambda: all(rows_in(log) >= least for log in logs) or any(each.poll() is not None for each in writers),
        seconds=60,
    )
