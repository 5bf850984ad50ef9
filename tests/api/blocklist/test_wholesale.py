"""Wholesale entries: effective in every process at once, without a statement for each request."""

import time
from datetime import timedelta

import pytest
import redis
import time_machine
from django.conf import settings
from django.utils import timezone

from accounts import ending, sids
from accounts.models import SignIn
from api.blocklist import pubsub
from api.blocklist.mirror import Mirror, RevokedBefore
from api.blocklist.models import Entry

pytestmark = pytest.mark.django_db(transaction=True)
needs_redis = pytest.mark.skipif(not settings.REDIS_URL, reason="no Redis")


@pytest.fixture
def mirror():
    """A mirror that has loaded all entries."""
    mirror = Mirror()
    settle(mirror)
    return mirror


def settle(mirror):
    deadline = time.monotonic() + 10
    while not mirror._is_current():
        mirror.blocks(sids.new(), sids.new(), 1)
        assert time.monotonic() < deadline, "the mirror does not become current"
        time.sleep(0.01)


def test_the_database_check_is_one_statement(django_assert_num_queries):
    sid = sids.new()
    with django_assert_num_queries(1):
        assert not Entry.objects.blocks(sid, sids.new(), 1)
    Entry.objects.block_all(timezone.now() + timedelta(seconds=1), 1)
    with django_assert_num_queries(1):
        assert Entry.objects.blocks(sid, sids.new(), 1)
    assert not Entry.objects.blocks(sid, sids.new(), 2)


def test_a_refresh_takes_two_statements_with_entries(client_of, ann, django_assert_num_queries):
    client = client_of(ann)
    Entry.objects.block_all(timezone.now() - timedelta(hours=1))
    with django_assert_num_queries(2):
        assert client.renew().status_code == 200


@needs_redis
def test_the_mirror_knows_the_newest_moment_without_a_query(mirror, django_assert_num_queries):
    moment = timezone.now().replace(microsecond=0)
    old, new = sids.new(moment - sids.MILLISECOND), sids.new(moment)
    Entry.objects.block_all(moment)
    Entry.objects.block_all(moment - timedelta(hours=1))
    Entry.objects.block_all(moment + timedelta(hours=1), 7)
    settle(mirror)
    with django_assert_num_queries(0):
        assert mirror.blocks(old, sids.new(), 1)
        assert not mirror.blocks(new, sids.new(), 1)
        assert mirror.blocks(new, sids.new(), 7)


@needs_redis
def test_the_next_check_knows_a_broadcast_moment(mirror):
    for _ in range(20):
        sid = sids.new()
        assert not mirror.blocks(sid, sids.new(), 1)
        time.sleep(0.002)
        Entry.objects.block_all(sids.just_after(timezone.now()))
        assert mirror.blocks(sid, sids.new(), 1)
        time.sleep(0.002)


@needs_redis
def test_a_forged_moment_causes_queries_and_ends_no_sign_in(mirror):
    forger = redis.Redis.from_url(settings.REDIS_URL)
    sid = sids.new()
    for forgery in ["[[], 0]", "[[], 99999999999]", f'[["{"0" * 32}"], 99999999999]', '[["1"], 99999999999]']:
        forger.publish(pubsub.CHANNEL, forgery)
        assert not mirror.blocks(sid, sids.new(), 1)
    settle(mirror)
    assert not mirror.blocks(sid, sids.new(), 1)


def test_a_moment_leaves_memory_when_its_entry_has_expired():
    moments, now = RevokedBefore(), timezone.now()
    moments.add(7, now, now.timestamp() + 60)
    old = sids.new(now - timedelta(hours=1))
    moments.drop_expired()
    assert moments.covers(old, 7)
    with time_machine.travel(now + timedelta(seconds=61)):
        moments.drop_expired()
    assert not moments.covers(old, 7)


def test_an_effective_entry_cannot_be_deleted(ann):
    list(ending.end_all_in_batches(ann, SignIn.Reason.ENDED_BY_STAFF))
    with pytest.raises(ValueError, match="in force"):
        Entry.objects.all().delete()
