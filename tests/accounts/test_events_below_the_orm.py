"""Security events are append-only in the database, too: triggers refuse changes by SQL."""

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import SecurityEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def event(ann):
    return SecurityEvent.objects.record(SecurityEvent.Type.SIGN_IN_FAILED, ann)


def run(statement, *parameters):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, parameters)


@pytest.mark.parametrize(
    "change",
    [
        "type = 'signed_in'",
        "details = '{\"kind\": 1}'",
        "created_at = '2020-01-01'",
        "ip_address = '192.0.2.1'",
        "user_agent = 'x'",
        "sid = NULL, type = 'signed_in'",
        "id = id + 1000",
    ],
)
def test_sql_updates_of_events_are_refused(event, change):
    before = SecurityEvent.objects.values().get()
    with pytest.raises(IntegrityError, match="append-only"):
        run(f"UPDATE accounts_securityevent SET {change}")  # noqa: S608
    assert SecurityEvent.objects.values().get() == before


@pytest.mark.parametrize("column", ["user_id", "actor_id"])
def test_another_user_cannot_be_set_by_sql(event, bob, column):
    with pytest.raises(IntegrityError, match="append-only"):
        run(f"UPDATE accounts_securityevent SET {column} = %s", bob.pk)  # noqa: S608


@pytest.mark.parametrize("column", ["user_id", "actor_id"])
def test_the_user_of_an_event_can_be_cleared_by_sql(event, column):
    run(f"UPDATE accounts_securityevent SET {column} = NULL")  # noqa: S608
    assert SecurityEvent.objects.values(column).get() == {column: None}


def test_a_user_with_events_can_be_deleted(event, ann):
    ann.delete()
    assert SecurityEvent.objects.filter(type="sign_in_failed", user=None).count() == 1
