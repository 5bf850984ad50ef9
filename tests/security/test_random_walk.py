"""
A random walk over all actions that start and end sign-ins, in both modes. After every step each cookie, access token
and refresh token that was ever issued is tried, and must work exactly as the model (model.py) expects.

In the suite it takes a minute. A longer walk: HYPOTHESIS_EFFORT=100 pytest tests/security/test_random_walk.py
--long --hypothesis-seed=random --timeout=0, with --distributed and without.
"""

from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import (
    invariant,
    run_state_machine_as_test,
)

from accounts.models import SignIn
from tests.security import examples
from tests.security.walk_raw_sql import RawSQLRules
from tests.security.walk_rules import (
    AccountRules,
    EndRules,
    FactorRules,
    NeutralRules,
    PasswordRules,
    RefreshRules,
    SignInRules,
    StaffRules,
)
from tests.security.walk_state import WHO, send


class Walk(
    SignInRules, RefreshRules, EndRules, PasswordRules, AccountRules, StaffRules, RawSQLRules, FactorRules, NeutralRules
):
    # Requests that took no statement, since the process remembered the session of the step before.
    remembered = 0

    @invariant()
    def every_credential_is_as_expected(self) -> None:
        for cookie in self.cookies:
            with CaptureQueriesContext(connection) as queries:
                self.judge(cookie, self.call(cookie, "GET", WHO), mode="wristband")
            if cookie.is_good(self.now):
                self.note_use(cookie.stay)
                Walk.remembered += not queries
        for access in self.accesses:
            self.judge(access, self.call(access, "GET", WHO), mode="passport")
            if access.stay.holder:
                assert send("GET", WHO, access=access.token).status_code == 401
        for refresh in self.refreshes:
            status = send("POST", "/api/token/verify/", {"token": refresh.token}).status_code
            assert status == (200 if refresh.is_good(self.now) else 401), (status, refresh)
        listed = SignIn.objects.filter(user__in=[person.id for person in self.people]).live()
        assert {str(sid) for sid in listed.values_list("pk", flat=True)} == {
            stay.sid for stay in self.stays if stay.is_good(self.now)
        }

    def judge(self, credential: Any, response: Any, mode: str) -> None:
        is_good = credential.is_good(self.now)
        assert response.status_code == (200 if is_good else 401), (response.status_code, response.content, credential)
        if is_good:
            stay = credential.stay
            assert response.json() == {"id": stay.person.id, "mode": mode, "sid": stay.sid}


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.django_db(transaction=True)
def test_every_credential_works_exactly_as_the_model_expects():
    run_state_machine_as_test(
        Walk,
        settings=hypothesis_settings(
            max_examples=examples(10),
            stateful_step_count=25,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert (Walk.remembered > 0) is bool(settings.REDIS_URL)
