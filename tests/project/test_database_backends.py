"""The database backends of the project have the same results, errors and parameters as those of Django."""

import datetime
import inspect
import sqlite3
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import psycopg_pool
import pytest
from django.db import connection
from django.db.backends.postgresql import base as django_postgresql
from django.db.backends.sqlite3 import base as django_sqlite

from project.postgresql import base as postgresql
from project.postgresql import statement_deadline
from project.sqlite import base as sqlite

is_postgresql = connection.vendor == "postgresql"
needs_postgresql = pytest.mark.skipif(not is_postgresql, reason="asks PostgreSQL")
pytestmark = pytest.mark.django_db(transaction=True)

OURS, DJANGOS = (
    (postgresql.DatabaseWrapper, django_postgresql.DatabaseWrapper)
    if is_postgresql
    else (sqlite.DatabaseWrapper, django_sqlite.DatabaseWrapper)
)
VALUES = [
    None,
    1,
    2**62,
    1.5,
    "ß'\"%",
    b"\x00\xff",
    Decimal("1.10"),
    uuid.UUID(int=7),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC),
    datetime.date(2026, 1, 2),
    datetime.timedelta(days=1, microseconds=1),
]
FAILURES = {
    "syntax": "SELEC 1",
    "no such table": "SELECT * FROM there_is_none",
    "unique": "INSERT INTO backend_test VALUES (1, 'again')",
    "not null": "INSERT INTO backend_test VALUES (2, NULL)",
}


@pytest.fixture
def both(tmp_path: Path) -> Iterator[list[Any]]:
    """A connection of the project's backend and one of Django's, to the same database."""
    wrappers: list[Any] = []
    for wrapper_class in (OURS, DJANGOS):
        settings_dict = connection.settings_dict | {"OPTIONS": dict(connection.settings_dict["OPTIONS"])}
        if not is_postgresql:
            settings_dict["NAME"] = str(tmp_path / "db.sqlite3")
        elif wrapper_class is DJANGOS:
            settings_dict["OPTIONS"].pop("sends_limits")
        wrappers.append(wrapper_class(settings_dict, alias="default"))
    with wrappers[0].cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS backend_test")
        cursor.execute("CREATE TABLE backend_test (id integer PRIMARY KEY, name varchar(20) NOT NULL)")
        cursor.execute("INSERT INTO backend_test VALUES (1, 'one')")
    yield wrappers
    with wrappers[0].cursor() as cursor:
        cursor.execute("DROP TABLE backend_test")
    for wrapper in wrappers:
        wrapper.close()


def result_of(wrapper: Any, sql: str, *params: object) -> Any:
    with wrapper.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall(), [column[0] for column in cursor.description], cursor.rowcount


def error_of(wrapper: Any, sql: str) -> tuple[type, type, str]:
    with pytest.raises(Exception) as raised, wrapper.cursor() as cursor:  # noqa: PT011 (any, compared with Django's)
        cursor.execute(sql)
    return type(raised.value), type(raised.value.__cause__), str(raised.value)


@pytest.mark.parametrize("deadline", [None, 5.0])
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_equal_those_of_djangos_backend(
    both: list[Any], value: object, deadline: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement_deadline, "seconds", deadline)
    if not is_postgresql:
        value = connection.ops.adapt_unknown_value(value) if value is not None else None
        value = value.hex if isinstance(value, uuid.UUID) else value
        value = int(value.total_seconds()) if isinstance(value, datetime.timedelta) else value
    ours, djangos = (result_of(each, "SELECT %s AS value, name FROM backend_test", value) for each in both)
    assert ours == djangos


@pytest.mark.parametrize("deadline", [None, 5.0])
@pytest.mark.parametrize("sql", FAILURES.values(), ids=FAILURES)
def test_errors_equal_those_of_djangos_backend(
    both: list[Any], sql: str, deadline: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement_deadline, "seconds", deadline)
    ours, djangos = (error_of(each, sql) for each in both)
    assert ours == djangos
    # The connection is still usable.
    assert result_of(both[0], "SELECT 1") == result_of(both[1], "SELECT 1")


def test_features_and_parts_equal_those_of_djangos_backend(both: list[Any]) -> None:
    ours, djangos = both
    parts = ("vendor", "display_name", "ops", "features", "introspection", "creation", "client", "validation")
    for part in parts:
        mine, theirs = getattr(ours, part), getattr(djangos, part)
        assert mine == theirs if isinstance(mine, str) else isinstance(mine, type(theirs)), part
    assert ours.get_database_version() == djangos.get_database_version()


def test_without_a_timeout_the_parameters_equal_djangos(both: list[Any]) -> None:
    assert statement_deadline.seconds is None
    ours, djangos = (each.get_connection_params() for each in both)
    assert {name: str(value) for name, value in ours.items()} == {name: str(value) for name, value in djangos.items()}


def test_each_overridden_method_exists_in_django() -> None:
    replaced = {name for name, value in vars(OURS).items() if inspect.isfunction(value)} - {"_connect"}
    assert replaced == (
        {"__init__", "get_connection_params", "get_new_connection", "_close"}
        if is_postgresql
        else {"get_new_connection"}
    )
    for name in replaced:
        ours, djangos = (inspect.signature(getattr(each, name)).parameters for each in (OURS, DJANGOS))
        assert list(ours) == list(djangos), name


@needs_postgresql
def test_with_a_timeout_only_the_limits_are_added(both: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement_deadline, "seconds", 1.5)
    ours, djangos = (each.get_connection_params() for each in both)
    limits = "-c statement_timeout=1500 -c idle_in_transaction_session_timeout=1500"
    assert str(ours.pop("options")).strip() == f"{limits} {djangos.pop('options', '')}".strip()
    assert {name: str(value) for name, value in ours.items()} == {name: str(value) for name, value in djangos.items()}


def test_each_overridden_method_exists_in_psycopg() -> None:
    ours, psycopgs = (inspect.signature(each.wait).parameters for each in (postgresql.Connection, psycopg.Connection))
    assert list(ours) == list(psycopgs)
    assert {"connection_class", "reconnect_failed"} <= inspect.signature(psycopg_pool.ConnectionPool).parameters.keys()


def test_a_private_file_works_as_a_sqlite_database(tmp_path: Path) -> None:
    path = tmp_path / "private.sqlite3"
    sqlite.make_private(str(path))
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE one (id integer)")
    assert path.stat().st_mode & 0o777 == sqlite.OWNER_ONLY
