"""The command `migrate` beside other transactions that hold locks."""

import os
import sqlite3
import subprocess
import sys
import uuid
from contextlib import contextmanager

import psycopg
import pytest
from django.db import OperationalError
from psycopg import sql

from project.management.commands.migrate import ADVISORY_LOCK, conflict_of
from tests import servers

BEFORE = ("accounts", "0032_announced_ends")
# It creates a table, adds a column to accounts_signin, and then refers to accounts_user: three locks in turn.
MIGRATION = ("accounts", "0033_second_factor")


@pytest.fixture(scope="module")
def template():
    """A database before the migration."""
    name = f"before_{uuid.uuid4().hex}"
    url = servers.create_database(os.environ["DATABASE_URL"], name)
    servers.manage({"DATABASE_URL": url, "DEBUG": "true"}, "migrate", *BEFORE, "--verbosity=0")
    return name


@pytest.fixture
def database(template):
    """Returns the URL of a copy."""
    name, server = f"migrate_{uuid.uuid4().hex}", os.environ["DATABASE_URL"]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
    return f"{server.rpartition('/')[0]}/{name}"


class Command:
    """A running `manage.py migrate`."""

    def __init__(self, database, log, *options):
        self.log = log
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "migrate", *MIGRATION, *options],
                cwd=servers.ROOT,
                env=os.environ | {"DATABASE_URL": database, "DEBUG": "true"},
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def wrote(self, words, times=1):
        assert self.process.poll() is None or self.log.read_text().count(words) >= times, self.log.read_text()
        return self.log.read_text().count(words) >= times

    def ends_with(self, status):
        assert self.process.wait(60) == status, self.log.read_text()
        return True


@pytest.fixture
def start(database, tmp_path):
    commands = []

    def start_one(*options):
        commands.append(Command(database, tmp_path / f"log{len(commands)}", *options))
        return commands[-1]

    yield start_one
    for each in commands:
        each.process.kill()
        each.process.wait()


@contextmanager
def transaction(database, *statements):
    """A transaction that stays open, and keeps its locks."""
    with psycopg.connect(database) as connection:
        for statement in statements:
            connection.execute(statement)
        yield connection
        connection.rollback()


def is_applied(database):
    """Whether the migration is recorded. Raises AssertionError if its tables and columns are half there."""
    with psycopg.connect(database) as connection:
        found = [
            connection.execute("SELECT count(*) FROM django_migrations WHERE (app, name) = (%s, %s)", MIGRATION),
            connection.execute("SELECT count(*) FROM pg_tables WHERE tablename = 'accounts_usedstep'"),
            connection.execute(
                "SELECT count(*) FROM pg_attribute WHERE attrelid = 'accounts_signin'::regclass AND attname = 'methods'"
            ),
            connection.execute("SELECT count(*) FROM pg_tables WHERE tablename = 'accounts_recoverycode'"),
        ]
        counts = [cursor.fetchone()[0] for cursor in found]
    assert len(set(counts)) == 1, counts
    return counts[0] == 1


def waits_for(database, table):
    with psycopg.connect(database) as connection:
        query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
        return connection.execute(query, [table]).fetchone()[0] > 0


@pytest.mark.long
@pytest.mark.once
def test_requests_go_on_while_a_backup_stops_a_migration(database, start):
    with transaction(database, "SELECT count(*) FROM accounts_signin") as _backup:
        command = start()
        with psycopg.connect(database, autocommit=True) as request:
            request.execute("SET statement_timeout = '3s'")
            while not command.wrote("Stopped by another transaction holds a lock", times=2):
                request.execute("SELECT count(*) FROM accounts_signin")
        assert not is_applied(database)
    assert command.ends_with(0)
    assert is_applied(database)


@pytest.mark.long
@pytest.mark.once
def test_a_request_wins_against_a_migration_that_waits_for_it(database, start):
    with transaction(database, "LOCK TABLE accounts_user IN ROW EXCLUSIVE MODE") as request:
        command = start()
        servers.wait_until(lambda: waits_for(database, "accounts_user"))
        # The migration has locked this table, and waits for the other one.
        request.execute("SELECT count(*) FROM accounts_signin")
        servers.wait_until(lambda: command.wrote("Nothing is half done"))
    assert command.ends_with(0)
    assert is_applied(database)


@pytest.mark.long
@pytest.mark.once
def test_a_migration_that_lost_a_deadlock_is_repeated(database, start):
    with psycopg.connect(database, autocommit=True) as connection:
        # PostgreSQL cancels the one that notices the deadlock first: here the migration.
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET deadlock_timeout = '400ms'").format(name))
    locks = ["SET deadlock_timeout = '20s'", "LOCK TABLE accounts_user IN ROW EXCLUSIVE MODE"]
    with transaction(database, *locks) as request:
        command = start()
        while not command.wrote("a deadlock with another transaction"):
            if waits_for(database, "accounts_user"):
                request.execute("SELECT count(*) FROM accounts_signin")
                request.rollback()
                request.execute(locks[1])
    assert command.ends_with(0)
    assert is_applied(database)


@pytest.mark.long
@pytest.mark.once
def test_a_command_that_gives_up_leaves_nothing_half_done(database, start):
    with (
        transaction(database, "SELECT count(*) FROM accounts_user"),
        transaction(database, "LOCK TABLE accounts_user IN ROW EXCLUSIVE MODE"),
    ):
        command = start("--give-up-after=1")
        assert command.ends_with(1)
        assert command.wrote("Gave up: another transaction holds a lock")
        assert not is_applied(database)
    assert start().ends_with(0)
    assert is_applied(database)


@pytest.mark.long
@pytest.mark.once
def test_two_commands_run_one_after_the_other(database, start):
    with transaction(database, f"SELECT pg_advisory_lock({ADVISORY_LOCK})"):
        command = start()
        servers.wait_until(lambda: command.wrote("Another migrate is running"))
        assert not is_applied(database)
    assert command.ends_with(0)
    assert is_applied(database)


def test_a_locked_sqlite_file_is_a_conflict(tmp_path):
    with sqlite3.connect(tmp_path / "file") as writer, sqlite3.connect(tmp_path / "file", timeout=0) as migration:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError) as caught:
            migration.execute("BEGIN IMMEDIATE")
    error = OperationalError()
    error.__cause__ = caught.value
    assert conflict_of(error)
    assert not conflict_of(OperationalError("no such table"))
