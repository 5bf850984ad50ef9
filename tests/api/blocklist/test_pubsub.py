"""Foreign messages on the Redis channel: checks query the database, and nothing else happens."""

import json
import logging
import time
from uuid import UUID, uuid4

import pytest
import redis
from django.conf import settings

from api.blocklist import pubsub
from api.blocklist.mirror import BUCKET_SECONDS, Mirror
from api.blocklist.models import Entry, max_access_expiry
from tests.api.blocklist.test_wholesale import settle

needs_redis = pytest.mark.skipif(not settings.REDIS_URL, reason="no Redis")

ID = "0123456789abcdef" * 2
SOON = int(time.time()) + 300
GARBAGE = {
    "nothing": b"",
    "3,000 opening brackets": b"[" * 3_000,
    "3,000 levels": b"[" * 3_000 + b"]" * 3_000,
    "100,000 levels of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "levels in place of an id": json.dumps([[[[[ID]]]], SOON]).encode(),
    "an integer of 5,000 digits": b"[[], " + b"9" * 5_000 + b"]",
    "an integer of 4,000 digits": b"[[], " + b"9" * 4_000 + b"]",
    "a negative time": b"[[], -1]",
    "a time after the year 2286": json.dumps([[ID], 10**11]).encode(),
    "a float": json.dumps([[ID], SOON + 0.5]).encode(),
    "an infinite float": b"[[], 1e999]",
    "NaN": b"[[], NaN]",
    "Infinity": b"[[], Infinity]",
    "true": json.dumps([[ID], True]).encode(),
    "a string for a time": json.dumps([[ID], str(SOON)]).encode(),
    "null": b"null",
    "a number": b"7",
    "a string": b'"news"',
    "a pair of strings": b'["ab", "cd"]',
    "an object": b'{"ids": [], "until": 0}',
    "an object for ids": json.dumps([{ID: 1}, SOON]).encode(),
    "three members": json.dumps([[ID], SOON, 1]).encode(),
    "one member": json.dumps([[ID]]).encode(),
    "a short id": json.dumps([["ab"], SOON]).encode(),
    "an id with a sign": json.dumps([["+" + ID[1:]], SOON]).encode(),
    "an id with underscores": json.dumps([["1_" * 16], SOON]).encode(),
    "an id in capitals": json.dumps([[ID.upper()], SOON]).encode(),
    "an id of other digits": json.dumps([["\N{ARABIC-INDIC DIGIT ONE}" * 32], SOON]).encode(),
    "two ids in one": json.dumps([[f"{ID} {ID}"], SOON]).encode(),
    "an id that is a number": json.dumps([[int(ID, 16)], SOON]).encode(),
    "a lone surrogate": b'[["\\ud800"], 1]',
    "1,001 ids": json.dumps([[ID] * 1_001, SOON], separators=(",", ":")).encode(),
    "10 MB": json.dumps([[ID] * 280_000, SOON]).encode(),
    "10 MB of spaces": b" " * 10_000_000 + b"[[], 0]",
    "not UTF-8": b'[["\xff\xfe"], 1]',
    "UTF-16": json.dumps([[ID], SOON]).encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf[[], 0]",
    "a null byte": b"[[], 0]\0",
    "two messages": b"[[], 0][[], 0]",
}


@pytest.mark.parametrize("message", GARBAGE.values(), ids=GARBAGE)
def test_the_parser_refuses_foreign_messages(message):
    with pytest.raises(ValueError):  # noqa: PT011 (any is an answer to the caller)
        pubsub.parse(message)


@pytest.mark.parametrize("count", [1, 2, pubsub.MAX_IDS_PER_MESSAGE])
def test_the_parser_accepts_our_messages(count):
    ids = [uuid4() for _ in range(count)]
    message = json.dumps([[each.hex for each in ids], SOON]).encode()
    assert pubsub.parse(message) == ([each.int for each in ids], SOON)


@needs_redis
@pytest.mark.django_db(transaction=True)
class TestOnRedis:
    @pytest.fixture
    def forger(self):
        return redis.Redis.from_url(settings.REDIS_URL)

    @pytest.fixture
    def mirror(self, monkeypatch):
        mirror = Mirror()
        settle(mirror)
        monkeypatch.setattr("api.tokens.access.mirror", mirror)
        return mirror

    @pytest.mark.parametrize("message", GARBAGE.values(), ids=GARBAGE)
    def test_an_invalid_message_reaches_no_view(self, mirror, forger, client_of, ann, bob, message):
        client, ended = client_of(ann), client_of(bob)
        for _ in range(3):
            forger.publish(pubsub.CHANNEL, message)
            assert client.get("/api/me/").status_code == 200
        ended.post("/api/sign-ins/end-all/")
        forger.publish(pubsub.CHANNEL, message)
        assert ended.get("/api/me/").status_code == 401
        settle(mirror)

    def test_an_invalid_message_is_logged_once(self, mirror, forger, client_of, ann, caplog):
        client = client_of(ann)
        with caplog.at_level(logging.WARNING, "api.blocklist.pubsub"):
            for message in GARBAGE.values():
                forger.publish(pubsub.CHANNEL, message)
                client.get("/api/me/")
        logged = [record.message for record in caplog.records if record.name == "api.blocklist.pubsub"]
        assert [message.partition(" (")[0] for message in logged] == ["A message on wp:blocked in Redis is invalid"]
        assert ID not in caplog.text

    def test_foreign_times_do_not_slow_checks(self, mirror, forger):
        longest = max_access_expiry().timestamp()
        for number in range(500):
            for until in (number * BUCKET_SECONDS, SOON + number * BUCKET_SECONDS, 10**10 - number * BUCKET_SECONDS):
                forger.publish(pubsub.CHANNEL, json.dumps([[uuid4().hex], until]))
        settle(mirror)
        assert len(mirror._ids._buckets) <= (longest - time.time()) // BUCKET_SECONDS + 2
        assert max(mirror._ids._buckets) <= (longest + 5) // BUCKET_SECONDS

    def test_an_id_with_a_far_expiry_leaves_memory_like_ours(self, mirror, forger):
        forged = uuid4()
        forger.publish(pubsub.CHANNEL, json.dumps([[forged.hex], 10**10]))
        # Redis writes to the subscribers before it replies to the next command.
        forger.exists(pubsub.CHANNEL)
        assert mirror.blocks(forged, uuid4(), 1)
        [until] = [bucket for bucket, ids in mirror._ids._buckets.items() if forged.int in ids]
        assert until * BUCKET_SECONDS <= max_access_expiry().timestamp()

    @pytest.mark.parametrize("fill", [{"name": "rpush", "args": ["x"]}, {"name": "set", "args": ["x" * 2_000_000]}])
    def test_a_key_named_like_the_channel_does_not_stop_messages(self, mirror, forger, caplog, fill):
        getattr(forger, fill["name"])(pubsub.CHANNEL, *fill["args"])
        try:
            sid = uuid4()
            with caplog.at_level(logging.WARNING, "api.blocklist.pubsub"):
                Entry.objects.block_sign_ins([sid])
            assert mirror.blocks(sid, UUID(int=1), 1)
            assert not caplog.records
        finally:
            forger.delete(pubsub.CHANNEL)
