"""A minute and a half of faults on a real fleet, like `python -m tests.chaos`."""

import os
import subprocess
import sys
from collections import Counter

import pytest
from django.db import connection

from tests import servers
from tests.chaos.__main__ import run
from tests.chaos.mail_rules import first_copies
from tests.chaos.report import report
from tests.plugins import stores
from tests.plugins.optional_tools import require

MINUTES, SEED = 1.5, 20
FAULTS = 36
# The minimum of accepted requests of each kind.
LEAST = {"call": 360, "page": 18, "refresh": 36, "sign in": 28, "end": 7, "sign out": 2, "token": 6}
# The minimum of acknowledged ends of each kind, and of ends by raw SQL of whatever kind.
LEAST_ENDS = {"end one": 1, "sign out": 1, "confirm": 1, "theft": 1, "restore": 1}
RAW_SQL = 3
# The minimum of refused requests with ended credentials, and with codes of a second factor that were used.
LEAST_THEFTS, LEAST_REPLAYS = 72, 1
# The minimum of responses with a user name, or none could have had a wrong one.
NAMED = 180
# The minimum of different mails, and of alarms in the database.
MAILS, ALARMS = 9, 3


@pytest.mark.named
@pytest.mark.long
@pytest.mark.skipif(connection.vendor != "postgresql", reason="a fleet is on PostgreSQL and Valkey")
@pytest.mark.timeout(600)
def test_minutes_of_faults_break_no_promise() -> None:
    require(servers.nginx_program)
    history, violations = run(MINUTES, SEED)
    summary = report(history, violations)
    assert not violations, summary
    assert len(history.faults) >= FAULTS, summary
    granted = Counter(call.action for call in history.calls if call.accepted or call.status == 302)
    assert {action: times for action, times in LEAST.items() if granted[action] < times} == {}, (granted, summary)
    ended = Counter(end.action for end in history.ends if end.acknowledged)
    assert {action: times for action, times in LEAST_ENDS.items() if ended[action] < times} == {}, (ended, summary)
    assert sum(times for action, times in ended.items() if action.startswith("raw SQL")) >= RAW_SQL, summary
    refused = Counter(call.action for call in history.calls if call.status == 401)
    assert refused["stolen"] >= LEAST_THEFTS, summary
    assert refused["replayed code"] >= LEAST_REPLAYS, summary
    assert sum(bool(call.about) for call in history.calls) >= NAMED, summary
    assert len(first_copies(history.letters)) >= MAILS, summary
    assert history.record
    assert len(history.record.alarms) >= ALARMS, summary


@pytest.mark.once
@pytest.mark.parametrize("module", ["tests.chaos", "tests.benchmarks"])
def test_the_commands_need_no_environment(module: str) -> None:
    env = {name: value for name, value in os.environ.items() if name not in (*stores.ENVIRONMENT, *stores.DEFAULTS)}
    env.pop("DJANGO_SETTINGS_MODULE", None)
    subprocess.run([sys.executable, "-m", module, "--help"], cwd=servers.ROOT, env=env, check=True)
