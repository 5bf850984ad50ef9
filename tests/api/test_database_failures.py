"""A database that cannot be used: a 503 with a reason, and its cause in the log, once."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import OperationalError, ProgrammingError, connection, transaction
from django.db.migrations.recorder import MigrationRecorder

from accounts.models import User
from api import outages
from project import health
from tests.conftest import ApiClient, Browser

pytestmark = pytest.mark.django_db(transaction=True)

is_postgresql = connection.vendor == "postgresql"


@pytest.fixture(autouse=True)
def nothing_is_known_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health.migrations_log, "_next", {})
    monkeypatch.setattr(outages, "migrations", outages.AppliedMigrations())


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def full() -> Iterator[None]:
    if is_postgresql:
        execute(
            "CREATE FUNCTION full_disk() RETURNS trigger AS $$ BEGIN"
            " RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';"
            " END $$ LANGUAGE plpgsql",
            "CREATE TRIGGER full_disk BEFORE INSERT ON accounts_signin EXECUTE FUNCTION full_disk()",
        )
        yield
        execute("DROP TRIGGER full_disk ON accounts_signin", "DROP FUNCTION full_disk")
        return
    # Partly filled pages have room for a small row, and not for a large one.
    execute(
        "CREATE TABLE filling (bytes BLOB)",
        "CREATE TRIGGER full_disk BEFORE INSERT ON accounts_signin"
        " BEGIN INSERT INTO filling VALUES (zeroblob(10000000)); END",
        "PRAGMA max_page_count = 1",
    )
    yield
    execute("PRAGMA max_page_count = 1000000", "DROP TRIGGER full_disk", "DROP TABLE filling")


@pytest.fixture
def read_only() -> Iterator[None]:
    on, off = (
        ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off")
        if is_postgresql
        else ("PRAGMA query_only = ON", "PRAGMA query_only = OFF")
    )
    execute(on)
    yield
    execute(off)


@pytest.fixture
def a_table_short() -> Iterator[None]:
    execute("ALTER TABLE accounts_signin RENAME TO elsewhere")
    yield
    execute("ALTER TABLE elsewhere RENAME TO accounts_signin")


def causes(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [str(record.exc_info[1]) for record in caplog.records if record.exc_info and record.exc_info[1]]


@pytest.mark.parametrize("state", ["full", "read_only"])
def test_a_failed_write_is_503_and_its_cause_is_logged_once(
    ann: User, password: str, state: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    request.getfixturevalue(state)
    credentials = {"username": "ann", "password": password}
    for _ in range(3):
        answer = ApiClient().post("/api/token/", credentials)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "cannot write" in answer.json()["detail"]
        assert answer["Retry-After"] == "2"
    page = Browser(raise_request_exception=False).post("/accounts/login/", credentials)
    assert page.status_code == 503
    assert "cannot save anything" in page.content.decode()
    [cause] = causes(caplog)
    assert {"full": "space" if is_postgresql else "full", "read_only": "read"}[state] in cause
    assert password not in caplog.text


def test_a_read_only_database_serves_reads_and_is_ready(
    ann: User, client_of: Callable[[Any], ApiClient], request: pytest.FixtureRequest
) -> None:
    client = client_of(ann)
    request.getfixturevalue("read_only")
    assert client.get("/api/me/").status_code == 200
    ready = Browser().get("/health/ready")
    assert (ready.status_code, ready.json()["database"]) == (200, "read-only")


# Migrations


@pytest.fixture
def not_migrated(a_table_short: None) -> Iterator[None]:
    """A database before the migration that creates the table."""
    last = MigrationRecorder.Migration.objects.filter(app="accounts").order_by("name").last()
    assert last
    last.delete()
    yield
    last.save(force_insert=True)


def test_a_node_is_not_ready_before_its_migrations(not_migrated: None) -> None:
    ready = Browser().get("/health/ready")
    assert (ready.status_code, ready.json()["status"], ready.json()["database"]) == (503, "down", "not migrated")
    assert Browser().get("/health/live").status_code == 200


def test_migrations_are_missing_when_djangos_own_check_says_so(request: pytest.FixtureRequest) -> None:
    call_command("migrate", check_unapplied=True, verbosity=0)
    assert not outages.AppliedMigrations().missing()
    request.getfixturevalue("not_migrated")
    with pytest.raises(SystemExit):
        call_command("migrate", check_unapplied=True, verbosity=0)
    assert outages.AppliedMigrations().missing()


def test_a_database_without_any_table_is_not_ready(request: pytest.FixtureRequest) -> None:
    execute("ALTER TABLE django_migrations RENAME TO elsewhere_migrations")
    try:
        assert Browser().get("/health/ready").status_code == 503
    finally:
        execute("ALTER TABLE elsewhere_migrations RENAME TO django_migrations")
    assert Browser().get("/health/ready").status_code == 200


def test_an_unmigrated_database_is_named_as_such(
    not_migrated: None, ann: User, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    credentials = {"username": "ann", "password": password}
    answer = ApiClient().post("/api/token/", credentials)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.json()["detail"] == "The service is being updated. Try again in a moment."
    page = Browser(raise_request_exception=False).post("/accounts/login/", credentials)
    assert (page.status_code, "is being updated" in page.content.decode()) == (503, True)
    [cause] = causes(caplog)
    assert "accounts_signin" in cause


def test_a_missing_table_without_pending_migration_is_a_500(a_table_short: None, ann: User, password: str) -> None:
    answer = Browser(raise_request_exception=False).post(
        "/api/token/", json.dumps({"username": "ann", "password": password}), "application/json"
    )
    assert (answer.status_code, answer.json()["code"]) == (500, "error")


def test_an_old_node_on_a_newer_database_is_ready() -> None:
    newer = MigrationRecorder.Migration.objects.create(app="accounts", name="9999_of_the_next_release")
    try:
        assert Browser().get("/health/ready").status_code == 200
    finally:
        newer.delete()


def test_readiness_costs_two_statements_after_all_migrations(django_assert_max_num_queries: Any) -> None:
    Browser().get("/health/ready")
    # The database, and the queue of mails.
    with django_assert_max_num_queries(2 if is_postgresql else 3):
        Browser().get("/health/ready")


def test_an_outage_is_logged_once_a_minute_with_its_exception(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trouble_at(seconds: float, text: str) -> None:
        monkeypatch.setattr(outages.time, "monotonic", lambda: seconds)
        outages.log_database_outage(OperationalError(text), outages.Outage.UNREACHABLE)

    caplog.set_level(logging.ERROR)
    for seconds in (1000.0, 1001.0, 1059.0, 1061.0):
        trouble_at(seconds, f"refused at {seconds}")
    assert causes(caplog) == ["refused at 1000.0", "refused at 1061.0"]


def away(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    raise OperationalError("the database is away")


def test_the_end_of_an_outage_is_logged_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with connection.execute_wrapper(away):
        for _ in range(5):
            assert Browser().get("/health/ready").status_code == 503
    # Too early: an outage may concern some requests only.
    assert Browser().get("/health/ready").status_code == 200
    now = outages.time.monotonic()
    monkeypatch.setattr(outages.time, "monotonic", lambda: now + outages.QUIET_SECONDS)
    for _ in range(2):
        assert Browser().get("/health/ready").status_code == 200
    [failure, recovery] = [each for each in caplog.records if each.name == "api.outages"]
    assert failure.exc_info
    assert recovery.getMessage() == "The database is available again"


def test_without_a_probe_requests_show_the_end_of_an_outage(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connection.execute_wrapper(away):
        assert ApiClient().post("/api/token/", {"username": "ann", "password": "x"}).status_code == 503
    outages.database_outages.note_connection()
    now = outages.time.monotonic()
    monkeypatch.setattr(outages.time, "monotonic", lambda: now + outages.QUIET_SECONDS)
    for _ in range(2):
        outages.database_outages.note_request()
    assert [each for each in caplog.messages if "again" in each] == ["The database is available again"]


def test_the_end_of_a_full_disk_is_logged_once(
    ann: User, password: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(outages.database_outages._seen, outages.Outage.CANNOT_WRITE, outages.time.monotonic() - 60)
    for _ in range(2):
        assert ApiClient().post("/api/token/", {"username": "ann", "password": password}).status_code == 200
    assert [each for each in caplog.messages if "again" in each] == ["The database accepts writes again"]


def test_a_request_of_an_outage_has_no_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    with connection.execute_wrapper(away):
        for _ in range(5):
            assert ApiClient().post("/api/token/refresh/", {"refresh": "x"}).status_code in (401, 503)
            assert Browser(raise_request_exception=False).get("/accounts/login/").status_code in (200, 503)
            assert ApiClient().post("/api/token/", {"username": "ann", "password": "x"}).status_code == 503
            assert Browser(raise_request_exception=False).get("/nowhere/").status_code == 404
    assert [each.name for each in caplog.records if each.levelno >= logging.ERROR] == ["api.outages"]


def test_a_role_without_rights_is_an_outage_whose_cause_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def denied(*args: Any) -> Any:
        raise ProgrammingError("permission denied for table") from psycopg.errors.InsufficientPrivilege()

    with connection.execute_wrapper(denied):
        for _ in range(3):
            assert ApiClient().post("/api/token/", {"username": "ann", "password": "x"}).status_code == 503
    assert causes(caplog) == ["permission denied for table"]


def test_a_transaction_that_failed_on_a_full_disk_left_nothing(
    ann: User, password: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("full")
    ApiClient().post("/api/token/", {"username": "ann", "password": password})
    assert not transaction.get_connection().in_atomic_block
    assert ann.sign_ins.count() == 0
