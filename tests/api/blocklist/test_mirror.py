"""The mirror on a real Valkey that is slow, hangs, is killed and returns."""

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from django.conf import settings as project_settings
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from api.blocklist import pubsub
from api.blocklist.mirror import BlockedIds, Mirror
from api.blocklist.models import Entry, max_access_expiry
from api.blocklist.row_cursor import RowCursor
from tests import servers
from tests.chaos.proxy import Proxy
from tests.stopwatch import stopwatch

pytestmark = pytest.mark.django_db(transaction=True)

UNUSED_ID = uuid4()
# The longest check, and the longest delay of a revocation when Redis fails, in seconds (DESIGN.md, rule 3).
LONGEST_WAIT = 0.25
BOUND = 1.0


@pytest.fixture
def valkey(one_valkey: servers.Valkey, settings: Any) -> servers.Valkey:
    if not one_valkey.answers():
        one_valkey.start()
    use(one_valkey.url, settings)
    return one_valkey


@pytest.fixture
def proxy(valkey: servers.Valkey, settings: Any) -> Iterator[Proxy]:
    """The proxy in front of Valkey."""
    with Proxy(servers.free_port(), valkey.port).running() as proxy:
        use(f"redis://127.0.0.1:{proxy.port}", settings)
        yield proxy


def use(redis_url: str, settings: Any) -> None:
    settings.REDIS_URL = redis_url
    options = {
        "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
        "SOCKET_CONNECT_TIMEOUT": project_settings.REDIS_TIMEOUT_SECONDS,
        "SOCKET_TIMEOUT": project_settings.REDIS_TIMEOUT_SECONDS,
    }
    settings.CACHES = {
        "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis_url, "OPTIONS": options}
    }


@pytest.fixture
def mirror(valkey: servers.Valkey) -> Mirror:
    mirror = Mirror()
    eventually(lambda: statements_of_a_check(mirror) == 0)
    return mirror


def statements_of_a_check(mirror: Mirror) -> int:
    with CaptureQueriesContext(connection) as queries:
        mirror.blocks(UNUSED_ID, UNUSED_ID, 1)
    return len(queries)


def eventually(condition: Callable[[], bool], within: float = 5.0) -> float:
    """Waits until the condition is true and returns the seconds that it took."""
    with stopwatch() as watch:
        while not condition():
            assert watch.seconds < within, "it did not come about"
            # Other threads need the core, too.
            time.sleep(0.001)
        return watch.seconds


def block() -> UUID:
    sid = uuid4()
    Entry.objects.block_sign_ins([sid])
    return sid


def block_unannounced(**fields: Any) -> UUID:
    """Blocks like a process that died between its commit and its broadcast."""
    return Entry.objects.bulk_create(
        [Entry(token_id=uuid4(), kind=Entry.Kind.SIGN_IN, until=max_access_expiry(), **fields)]
    )[0].token_id


def blocks(mirror: Mirror, sid: UUID) -> bool:
    return mirror.blocks(sid, UNUSED_ID, 1)


def test_a_check_queries_neither_database_nor_redis(mirror: Mirror) -> None:
    costs = [statements_of_a_check(mirror) for _ in range(100)]
    # One poll of the database may happen during these checks: it is due every 0.8 seconds.
    assert sum(costs) <= 1


def test_a_call_with_an_access_token_needs_no_statement(
    mirror: Mirror, monkeypatch: Any, ann: Any, client_of: Callable[[Any], Any]
) -> None:
    monkeypatch.setattr("api.tokens.access.mirror", mirror)
    client = client_of(ann)
    costs = []
    for _ in range(20):
        with CaptureQueriesContext(connection) as queries:
            assert client.post("/api/token/verify/", {"token": client.access}).status_code == 200
        costs.append(len(queries))
    assert sum(costs) <= 1


def test_the_next_check_knows_a_broadcast_entry(mirror: Mirror) -> None:
    for _ in range(200):
        sid = block()
        with CaptureQueriesContext(connection) as queries:
            assert blocks(mirror, sid)
        assert len(queries) <= 1


def test_a_single_token_is_blocked_alone(mirror: Mirror) -> None:
    jti = uuid4()
    Entry.objects.block_token(jti)
    assert mirror.blocks(UNUSED_ID, jti, 1)
    assert not mirror.blocks(UNUSED_ID, UNUSED_ID, 1)


def test_entries_from_before_the_start_are_loaded(valkey: servers.Valkey) -> None:
    sid = block()
    mirror = Mirror()
    for _ in range(50):
        assert blocks(mirror, sid)


def test_an_entry_without_broadcast_is_read_within_a_second(mirror: Mirror) -> None:
    sid = block_unannounced()
    assert eventually(lambda: blocks(mirror, sid)) <= BOUND


def test_many_entries_are_loaded_over_several_checks(valkey: servers.Valkey, monkeypatch: Any) -> None:
    monkeypatch.setattr("api.blocklist.row_cursor.MAX_ROWS_PER_READ", 10)
    sids = [block() for _ in range(35)]
    mirror = Mirror()
    assert all(blocks(mirror, sid) for sid in sids)
    eventually(lambda: statements_of_a_check(mirror) == 0)
    assert len(mirror) == 35
    assert all(blocks(mirror, sid) for sid in sids)


def test_no_check_overtakes_a_burst_of_messages(mirror: Mirror, monkeypatch: Any) -> None:
    monkeypatch.setattr("api.blocklist.mirror.MAX_MESSAGES_PER_CHECK", 3)
    sids = [block() for _ in range(20)]
    assert all(blocks(mirror, sid) for sid in reversed(sids))


def test_a_transaction_sees_its_own_blocks(mirror: Mirror) -> None:
    with transaction.atomic():
        assert blocks(mirror, block())


@pytest.mark.usefixtures("valkey")
class TestUnreadRows:
    def test_a_row_that_commits_after_a_later_one_is_found(self) -> None:
        unread = RowCursor()
        late, early = block_unannounced(id=1_000_010), block_unannounced(id=1_000_020)
        Entry.objects.filter(token_id=late).update(id=2_000_000)
        assert {row[0] for row in unread.read()[0]} == {late, early}
        between = [block_unannounced(id=1_500_000), block_unannounced(id=1_000_015)]
        assert {row[0] for row in unread.read()[0]} == set(between)
        assert unread.read() == ([], False)

    def test_a_gap_is_read_once_more_before_it_is_dropped(self, monkeypatch: Any) -> None:
        monkeypatch.setattr("api.blocklist.row_cursor.MAX_GAP_SECONDS", 0.0)
        unread = RowCursor()
        block_unannounced(id=1_000_020)
        unread.read()
        late = block_unannounced(id=1_000_010)
        assert [row[0] for row in unread.read()[0]] == [late]

    def test_gaps_are_read_again_after_all_new_rows(self, monkeypatch: Any) -> None:
        monkeypatch.setattr("api.blocklist.row_cursor.MAX_ROWS_PER_READ", 2)
        monkeypatch.setattr("api.blocklist.row_cursor.MAX_GAP_SECONDS", 0.0)
        unread = RowCursor()
        for number in range(1_000_010, 1_000_060, 10):
            block_unannounced(id=number)
        assert unread.read()[1]
        late = block_unannounced(id=1_000_015)
        reads = [unread.read() for _ in range(4)]
        assert [len(rows) for rows, _more in reads] == [2, 1, 1, 0]
        assert [more for _rows, more in reads] == [True, True, False, False]
        assert reads[2][0][0][0] == late

    def test_many_gaps_are_read_in_one_statement(self, monkeypatch: Any) -> None:
        monkeypatch.setattr("api.blocklist.row_cursor.MAX_GAPS", 2)
        unread = RowCursor()
        for number in range(1_000_000, 1_000_040, 10):
            block_unannounced(id=number)
        unread.read()
        late = {block_unannounced(id=number + 5) for number in range(1_000_000, 1_000_030, 10)}
        assert late <= {row[0] for row in unread.read()[0]}


def test_expired_ids_leave_memory() -> None:
    ids = BlockedIds()
    ids.add(range(1000), until=time.time() - 1000)
    ids.add([5000], until=time.time() + 1000)
    ids.drop_expired()
    assert len(ids) == 1
    assert ids.contains_any(5000, 1)
    assert ids.contains_any(1, 5000)
    assert not ids.contains_any(1, 2)


def test_without_redis_checks_query_the_database_until_it_returns(mirror: Mirror, valkey: servers.Valkey) -> None:
    valkey.kill()
    assert statements_of_a_check(mirror) == 1
    assert blocks(mirror, block())
    valkey.start()
    eventually(lambda: statements_of_a_check(mirror) == 0)
    assert blocks(mirror, block())


def test_entries_from_an_outage_of_redis_are_known_afterwards(mirror: Mirror, valkey: servers.Valkey) -> None:
    valkey.kill()
    sid = block()
    valkey.start()
    eventually(lambda: statements_of_a_check(mirror) == 0)
    assert all(blocks(mirror, sid) for _ in range(50))


def test_redis_may_be_unavailable_at_the_start(valkey: servers.Valkey) -> None:
    valkey.kill()
    mirror = Mirror()
    assert blocks(mirror, block())
    valkey.start()
    eventually(lambda: statements_of_a_check(mirror) == 0)


def test_a_hanging_redis_delays_no_request_by_a_second(mirror: Mirror, valkey: servers.Valkey) -> None:
    valkey.pause()
    try:
        sid = uuid4()
        assert duration(lambda: Entry.objects.block_sign_ins([sid])) < LONGEST_WAIT
        assert eventually(lambda: blocks(mirror, sid)) <= BOUND
        waits = [duration(lambda: mirror.blocks(UNUSED_ID, UNUSED_ID, 1)) for _ in range(3000)]
        assert max(waits) < LONGEST_WAIT
        eventually(lambda: statements_of_a_check(mirror) == 1)
    finally:
        valkey.resume()
    eventually(lambda: statements_of_a_check(mirror) == 0)


@pytest.mark.parametrize("trouble", [Proxy.fall_silent, partial(Proxy.slow_down, seconds=2)], ids=["half-open", "slow"])
def test_a_bad_network_to_redis_delays_no_request_by_a_second(proxy: Proxy, trouble: Callable[[Proxy], None]) -> None:
    mirror = Mirror()
    eventually(lambda: statements_of_a_check(mirror) == 0)
    trouble(proxy)
    sid = uuid4()
    assert duration(lambda: Entry.objects.block_sign_ins([sid])) < LONGEST_WAIT
    assert eventually(lambda: blocks(mirror, sid)) <= BOUND
    assert max(duration(lambda: mirror.blocks(UNUSED_ID, UNUSED_ID, 1)) for _ in range(3000)) < LONGEST_WAIT
    eventually(lambda: statements_of_a_check(mirror) == 1)
    proxy.heal()
    eventually(lambda: statements_of_a_check(mirror) == 0, within=10)
    assert blocks(mirror, block())


def test_a_reset_connection_is_opened_again(proxy: Proxy) -> None:
    mirror = Mirror()
    eventually(lambda: statements_of_a_check(mirror) == 0)
    proxy.cut()
    sid = block_unannounced()
    assert eventually(lambda: blocks(mirror, sid)) <= BOUND
    eventually(lambda: statements_of_a_check(mirror) == 0)


def duration(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def test_a_flush_changes_nothing(mirror: Mirror, valkey: servers.Valkey) -> None:
    sid = block()
    redis.Redis.from_url(valkey.url).flushall()
    assert blocks(mirror, sid)
    assert blocks(mirror, block())


def test_the_next_check_detects_a_killed_subscription(mirror: Mirror, valkey: servers.Valkey) -> None:
    redis.Redis.from_url(valkey.url).client_kill_filter(_type="pubsub")
    sid = block_unannounced()
    assert blocks(mirror, sid)
    eventually(lambda: statements_of_a_check(mirror) == 0)


@pytest.mark.parametrize(
    "forgery", [b"", b"not json", b"[]", b'[["zz"], 1]', b'{"a": 1}', b"[[1], null]", b"[[], 1e999]"]
)
def test_a_forged_message_unblocks_no_token(mirror: Mirror, valkey: servers.Valkey, forgery: bytes) -> None:
    sid = block()
    redis.Redis.from_url(valkey.url).publish(pubsub.CHANNEL, forgery)
    assert blocks(mirror, sid)
    assert blocks(mirror, block())


def test_an_outage_of_redis_is_logged_once_and_its_end_once(
    mirror: Mirror, valkey: servers.Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="api.blocklist.pubsub"):
        valkey.kill()
        for _ in range(30):
            blocks(mirror, UNUSED_ID)
        valkey.start()
        eventually(lambda: statements_of_a_check(mirror) == 0)
    said = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert said == [
        "No blocklist messages from Redis; every check queries the database meanwhile",
        "Blocklist messages from Redis are received again",
    ]


# Lifts by staff


def block_leaked() -> Entry:
    jti = uuid4()
    Entry.objects.block_leaked_token(jti, "It was in a log.")
    return Entry.objects.get(token_id=jti)


def blocks_token(mirror: Mirror, jti: UUID) -> bool:
    return mirror.blocks(UNUSED_ID, jti, 1)


def test_a_lifted_token_is_accepted_within_the_bound(mirror: Mirror) -> None:
    entry = block_leaked()
    assert blocks_token(mirror, entry.token_id)
    entry.lift("It was a mistake.")
    assert eventually(lambda: not blocks_token(mirror, entry.token_id)) < BOUND + 0.1


def test_a_new_process_knows_lifted_entries(mirror: Mirror) -> None:
    entry = block_leaked()
    entry.lift("It was a mistake.")
    another = Mirror()
    eventually(lambda: statements_of_a_check(another) == 0)
    assert not blocks_token(another, entry.token_id)


def test_a_lifted_token_that_is_blocked_again_is_refused_at_once(mirror: Mirror) -> None:
    entry = block_leaked()
    entry.lift("It was a mistake.")
    eventually(lambda: not blocks_token(mirror, entry.token_id))
    Entry.objects.block_leaked_token(entry.token_id, "It was none.")
    assert blocks_token(mirror, entry.token_id)


def test_a_lift_does_not_revive_a_sign_in(mirror: Mirror) -> None:
    entry, sid = block_leaked(), block()
    entry.lift("It was a mistake.")
    eventually(lambda: not blocks_token(mirror, entry.token_id))
    assert mirror.blocks(sid, entry.token_id, 1)


def test_lifted_entries_do_not_slow_other_checks(mirror: Mirror) -> None:
    entry = block_leaked()
    entry.lift("It was a mistake.")
    eventually(lambda: not blocks_token(mirror, entry.token_id))
    costs = [statements_of_a_check(mirror) for _ in range(100)]
    assert sum(costs) <= 1
