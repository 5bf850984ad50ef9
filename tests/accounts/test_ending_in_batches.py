"""Ending many sign-ins in batches, each in its own transaction."""

from datetime import timedelta

import pytest
from django.db.models import Q
from django.utils import timezone

from accounts.http import request_context
from accounts.models import SecurityEvent, SignIn
from api.blocklist.models import Entry

pytestmark = pytest.mark.django_db

REASON = SignIn.Reason.ENDED_BY_STAFF


@pytest.fixture
def sign_ins(ann, client_of):
    return [client_of(ann) for _ in range(5)]


def test_all_sign_ins_end_batch_by_batch(sign_ins, ann):
    assert list(SignIn.objects.filter(user=ann).end_in_batches(REASON, size=2)) == [2, 2, 1]
    assert not SignIn.objects.live().exists()


def test_the_tokens_of_each_batch_are_refused(sign_ins, ann):
    list(SignIn.objects.filter(user=ann).end_in_batches(REASON, size=2))
    assert [client.get("/api/me/").status_code for client in sign_ins] == [401] * 5
    assert Entry.objects.count() == 5


def test_only_the_sign_ins_of_the_query_end(sign_ins, ann, bob, client_of):
    other = client_of(bob)
    assert sum(SignIn.objects.filter(~Q(user=bob)).end_in_batches(REASON, size=2)) == 5
    assert other.get("/api/me/").status_code == 200


def test_a_second_run_ends_the_remaining_sign_ins(sign_ins):
    assert next(SignIn.objects.end_in_batches(REASON, size=2)) == 2
    assert SignIn.objects.live().count() == 3
    assert sum(SignIn.objects.end_in_batches(REASON, size=2)) == 3
    assert SecurityEvent.objects.filter(type="sign_in_ended").count() == 5


def test_each_event_has_the_reason(sign_ins):
    with request_context.acting("The laptops were stolen."):
        list(SignIn.objects.end_in_batches(REASON, size=2))
    events = SecurityEvent.objects.filter(type="sign_in_ended")
    assert {event.details["why"] for event in events} == {"The laptops were stolen."}


def test_the_reason_applies_inside_its_block_only(sign_ins):
    with request_context.acting("The laptops were stolen."):
        pass
    list(SignIn.objects.end_in_batches(REASON))
    assert not any("why" in event.details for event in SecurityEvent.objects.filter(type="sign_in_ended"))


@pytest.mark.parametrize("most_told_one_by_one", [1, 20])
def test_events_of_many_ends_equal_those_of_few(sign_ins, ann, browser_of, monkeypatch, most_told_one_by_one):
    monkeypatch.setattr("accounts.models.events.MAX_LOG_LINES_PER_CHANGE", most_told_one_by_one)
    browser_of(ann)
    own = {sign_in.pk: sign_in for sign_in in SignIn.objects.filter(user=ann)}
    headers = {"user-agent": "Robo\N{LATIN SMALL LETTER T WITH CARON}/1 \"'%s{}"}
    sign_ins[0].post("/api/sign-ins/end-all/", headers=headers, REMOTE_ADDR="203.0.113.7")
    events = SecurityEvent.objects.filter(type="sign_in_ended")
    assert {event.sid for event in events} == own.keys()
    for event in events:
        assert (event.user, event.actor, event.ip_address) == (ann, ann, "203.0.113.7")
        assert event.user_agent == headers["user-agent"]
        assert event.details == {"kind": own[event.sid].kind, "reason": "ended_by_user"}
        assert timezone.now() - event.created_at < timedelta(minutes=1)
