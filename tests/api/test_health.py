"""The health endpoints and the clock check of a node."""

import logging
import time
from typing import Any

import pytest
import time_machine
from django.db import connection

from project import health
from tests.conftest import Browser

pytestmark = pytest.mark.django_db

needs_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has the clock of its node")
DIFFERS = "The clock of this node is {} s {} that of the database"
AGREES = "The clock of this node and that of the database agree again"


@pytest.fixture
def log_lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns the log lines of a readiness check with a clock error of so many seconds."""
    monkeypatch.setattr(health, "clock", health.ClockComparison())
    caplog.set_level(logging.INFO, "project.health")

    def ask(seconds: float) -> list[str]:
        caplog.clear()
        with time_machine.travel(time.time() + seconds):
            assert Browser().get("/health/ready").status_code == 200
        return [record.getMessage() for record in caplog.records if record.name == "project.health"]

    return ask


def test_it_is_ready_with_its_database(settings: Any) -> None:
    redis = "up" if settings.REDIS_URL else "not used"
    assert Browser().get("/health/ready").json() == {"status": "up", "database": "up", "redis": redis, "mail": "up"}


@needs_postgresql
@pytest.mark.parametrize(("seconds", "where"), [(20, "ahead of"), (-20, "behind"), (3600, "ahead of")])
def test_a_clock_error_is_logged_once_and_its_end_once(log_lines: Any, seconds: int, where: str) -> None:
    assert log_lines(0) == []
    [line] = log_lines(seconds)
    assert float(line.split()[6]) == pytest.approx(abs(seconds), abs=2)
    assert line == DIFFERS.format(line.split()[6], where)
    assert log_lines(seconds) == []
    assert log_lines(0) == [AGREES]


@needs_postgresql
@pytest.mark.parametrize("seconds", [5, -5])
def test_a_clock_error_below_half_the_leeway_is_not_logged(log_lines: Any, seconds: int) -> None:
    assert log_lines(seconds) == []


def test_a_slow_response_is_not_a_clock_error() -> None:
    clock = health.ClockComparison()
    clock.compare(sent_at=1000, database_time=1030, received_at=1060)
    assert not clock.differs
    clock.compare(sent_at=1000, database_time=1090, received_at=1060)
    assert clock.differs
