"""What was just blocked, from process to process, by Redis. News only: the record is in the database."""

import json
import logging
import math
import re
import select
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django_redis import get_redis_connection
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry

from api import strict_json
from api.outages import OutageLog
from api.redis import REDIS_ERRORS, server_of

logger = logging.getLogger(__name__)

CHANNEL = "wp:blocked"
# A megabyte of news is some 27,000 ids; a message of a thousand is read in well under a millisecond.
MAX_IDS_PER_MESSAGE = 1000
# As long as an own message gets: each id has 32 digits, two quotes, a comma and a space.
MAX_MESSAGE_BYTES = 36 * MAX_IDS_PER_MESSAGE + 100
TOKEN_IDS = re.compile(r"(?:[0-9a-f]{32} )*")
# The year 2286, in seconds. A process bounds it further by its own settings.
MAX_UNTIL = 10**10
# How long a subscription that lost its connection waits before it tries again, in seconds.
RETRY_SECONDS = 0.5

# Ids, and until when they are blocked; without ids: the database knows more.
Message = tuple[list[int], int]
RELOAD: Message = ([], 0)


_publish_log = OutageLog(
    "Redis does not take the news of blocks; every process reads them from the database within a second",
    "Redis takes the news of blocks again",
)


def publish(token_ids: Iterable[UUID], until: datetime) -> None:
    """Tells every process. Returns when they can hear it, or when Redis did not answer: they will read it then."""
    ids = [token_id.hex for token_id in token_ids]
    chunks = [ids[start : start + MAX_IDS_PER_MESSAGE] for start in range(0, len(ids), MAX_IDS_PER_MESSAGE)]
    _publish([chunk, math.ceil(until.timestamp())] for chunk in chunks)


def publish_reload() -> None:
    """
    Tells every process that the database knows more than the news tells: what is blocked wholesale. Were it told here,
    whoever can write to Redis could sign out everybody; like this, they make checks ask the database.
    """
    _publish([RELOAD])


def _publish(messages: Iterable[object]) -> None:
    try:
        redis = get_redis_connection("default")
        publish = redis.spublish if isinstance(redis, RedisCluster) else redis.publish
        for message in messages:
            publish(CHANNEL, json.dumps(message))
        # Redis answers the publisher before it writes to the subscribers, and writes to them before it reads on. (Of a
        # cluster, this asks the server that has the channel.)
        redis.exists(CHANNEL)
        _publish_log.recovered()
    except REDIS_ERRORS as error:
        _publish_log.failed(error)


def parse(message: bytes) -> Message:
    """Raises ValueError for a message that no process of ours publishes."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise ValueError("longer than any news")
    pair = strict_json.loads(message)
    if not (isinstance(pair, list) and len(pair) == 2):
        raise ValueError("not a pair")
    ids, until = pair
    if not (isinstance(ids, list) and len(ids) <= MAX_IDS_PER_MESSAGE and _are_token_ids(ids)):
        raise ValueError("not a list of ids")
    if not (type(until) is int and 0 <= until <= MAX_UNTIL):
        raise ValueError("not a time")
    return [int(token_id, 16) for token_id in ids], until


def _are_token_ids(ids: list[Any]) -> bool:
    # One match for all of them: one for each takes as long as everything else.
    return all(type(each) is str for each in ids) and bool(TOKEN_IDS.fullmatch("".join(f"{id} " for id in ids)))


class Subscription:
    """An open ear on the channel. Whoever meets trouble with it drops it: it never mends itself unnoticed."""

    def __init__(self) -> None:
        """Subscribes. Raises RedisError or OSError."""
        redis, command = get_redis_connection("default"), "SUBSCRIBE"
        if isinstance(redis, RedisCluster):
            # A channel that is kept in one place, like a key: what goes through all servers arrives some time later.
            redis, command = server_of(redis, CHANNEL), "SSUBSCRIBE"
        pool = redis.connection_pool
        # Not redis-py's PubSub, which reconnects by itself and does not say that it missed something.
        self._connection = pool.connection_class(
            **pool.connection_kwargs | {"protocol": 2, "retry": Retry(NoBackoff(), 0)}
        )
        self._connection.connect()
        self._connection.send_command(command, CHANNEL)
        # Raises MovedError of a server of a cluster that does not have the channel.
        self._connection.read_response()
        self._poll = select.poll()
        self._poll.register(self._connection._sock, select.POLLIN)
        self._awaits_pong = False
        # Whether read() was left before its end: what it has not given yet may be off the socket already.
        self.has_unread = False
        self._has_logged_invalid = False

    def has_messages(self) -> bool:
        """Looks at the socket without waiting: under a microsecond."""
        return self.has_unread or bool(self._poll.poll(0))

    def read(self) -> Iterator[Message]:
        """What has arrived; RELOAD for a message that is none of ours. Raises RedisError or OSError."""
        self.has_unread = True
        while self._connection.can_read(0):
            kind, *rest = self._connection.read_response(disable_decoding=True)
            if kind == b"pong":
                self._awaits_pong = False
            elif kind in (b"message", b"smessage"):
                yield self._parse(rest[1])
            elif kind == b"sunsubscribe":
                raise ConnectionError("The channel has moved to another server of the cluster")
        self.has_unread = False

    def _parse(self, message: bytes) -> Message:
        try:
            return parse(message)
        except ValueError as error:
            if not self._has_logged_invalid:
                logger.warning(
                    "A message on %s in Redis is none of ours (%s); checks ask the database after each", CHANNEL, error
                )
            self._has_logged_invalid = True
            return RELOAD

    def ping(self) -> None:
        """To be called about once a second: raises ConnectionError if the last call was never answered."""
        if self._awaits_pong:
            raise ConnectionError("Redis has gone silent")
        self._awaits_pong = True
        self._connection.send_command("PING")

    def close(self) -> None:
        self._connection.disconnect()


class Subscriber:
    """Keeps a subscription, if Redis can be had; opens it in a thread, so that no request waits for Redis."""

    def __init__(self) -> None:
        self.subscription: Subscription | None = None
        self._connecting: threading.Thread | None = None
        self._connected: Subscription | None = None
        self._retry_at = 0.0
        self._outage_log = OutageLog(
            "No news of blocks from Redis; every check asks the database meanwhile", "News of blocks from Redis again"
        )

    def take(self) -> Subscription | None:
        """A subscription that was opened since the last call; starts on one otherwise."""
        if self._connected:
            self.subscription, self._connected = self._connected, None
            self._outage_log.recovered()
        elif not self._is_connecting() and time.monotonic() >= self._retry_at:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._connecting = threading.Thread(target=self._connect, name="blocklist pubsub", daemon=True)
            self._connecting.start()
        return self.subscription

    def drop(self, error: Exception) -> None:
        if self.subscription:
            self.subscription.close()
        self.subscription = None
        self._outage_log.failed(error)

    def _is_connecting(self) -> bool:
        return self._connecting is not None and self._connecting.is_alive()

    def _connect(self) -> None:
        try:
            self._connected = Subscription()
        except REDIS_ERRORS as error:
            self._outage_log.failed(error)
