"""A minute of faults on a real fleet, with what `python -m tests.faults` does for five minutes or for an hour."""

import os
from collections import Counter

import pytest
from django.db import connection

from tests import servers
from tests.faults.__main__ import report, run

MINUTES, SEED = 1.0, 20
FAULTS = 30
# Of each kind of request, so many must have been granted.
LEAST = {"call": 200, "page": 20, "refresh": 30, "sign in": 20, "end": 5, "sign out": 2}


def nginx_or_left_out() -> None:
    try:
        servers.nginx_program()
    except RuntimeError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.mark.long
@pytest.mark.skipif(connection.vendor != "postgresql", reason="a fleet is on PostgreSQL and Valkey")
@pytest.mark.timeout(300)
def test_a_minute_of_faults_breaks_no_promise() -> None:
    nginx_or_left_out()
    history, violations = run(MINUTES, SEED)
    told = report(history, violations)
    assert not violations, told
    assert len(history.faults) >= FAULTS, told
    granted = Counter(call.action for call in history.calls if call.accepted or call.status == 302)
    assert {action: times for action, times in LEAST.items() if granted[action] < times} == {}, (granted, told)
