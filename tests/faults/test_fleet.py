import os
import shutil

import pytest

from tests.faults.__main__ import report, run


@pytest.mark.skipif(not os.environ["DATABASE_URL"], reason="with --distributed, once is enough")
@pytest.mark.skipif(not shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"), reason="needs nginx-light")
@pytest.mark.timeout(400)
def test_a_fleet_keeps_its_promises_while_faults_happen_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name)
    history, violations = run(minutes=1, seed=1)
    assert len(history.faults) >= 20
    assert not violations, report(history, violations)
