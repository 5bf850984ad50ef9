"""Messages between processes about new blocklist entries, by Redis Pub/Sub. The record is in the database."""

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
# A message of a thousand ids is 36 kB, and is parsed in well under a millisecond.
MAX_IDS_PER_MESSAGE = 1000
# The length of the longest valid message: each id has 32 digits, two quotes, a comma and a space.
MAX_MESSAGE_BYTES = 36 * MAX_IDS_PER_MESSAGE + 100
TOKEN_IDS = re.compile(r"(?:[0-9a-f]{32} )*")
# The year 2286, in seconds since 1970. The mirror limits it further by the settings.
MAX_UNTIL = 10**10
# The time between two attempts to subscribe, in seconds.
RETRY_SECONDS = 0.5

# Ids, and until when they are blocked, in seconds since 1970. Without ids: read the database.
Message = tuple[list[int], int]
RELOAD: Message = ([], 0)


_publish_log = OutageLog(
    "Blocklist messages cannot be published to Redis; every process reads the database within a second",
    "Blocklist messages are published to Redis again",
)


def publish(token_ids: Iterable[UUID], until: datetime) -> None:
    """
    Publishes ids that are blocked until a time. Returns when subscribers can read the message; or after an error, which
    is logged: processes then read the database within a second.
    """
    ids = [token_id.hex for token_id in token_ids]
    chunks = [ids[start : start + MAX_IDS_PER_MESSAGE] for start in range(0, len(ids), MAX_IDS_PER_MESSAGE)]
    _publish([chunk, math.ceil(until.timestamp())] for chunk in chunks)


def publish_reload() -> None:
    """
    Makes every process read the database, for a new wholesale entry. The entry itself is not published: an attacker who
    can write to Redis could otherwise sign out all users.
    """
    _publish([RELOAD])


def _publish(messages: Iterable[object]) -> None:
    try:
        redis = get_redis_connection("default")
        publish = redis.spublish if isinstance(redis, RedisCluster) else redis.publish
        for message in messages:
            publish(CHANNEL, json.dumps(message))
        # Redis replies to a PUBLISH before it writes to the subscribers, and to the next command after that. In a
        # cluster, this command goes to the server of the channel.
        redis.exists(CHANNEL)
        _publish_log.recovered()
    except REDIS_ERRORS as error:
        _publish_log.failed(error)


def parse(message: bytes) -> Message:
    """Parses a message. Raises ValueError if it is not one that publish() or publish_reload() sends."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise ValueError("too long")
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
    # One match for all: one match per id takes as long as the rest of the parser.
    return all(type(each) is str for each in ids) and bool(TOKEN_IDS.fullmatch("".join(f"{id} " for id in ids)))


class Subscription:
    """
    A Redis subscription. It never reconnects by itself: on an error the caller drops it and opens another.

    It uses redis-py's connections and their socket directly. The public PubSub reconnects without notice, so that
    messages may be lost, and its get_message(timeout=0) takes several times as long as poll() on the socket.
    """

    def __init__(self) -> None:
        """Connects and subscribes. Raises RedisError or OSError."""
        redis, command = get_redis_connection("default"), "SUBSCRIBE"
        if isinstance(redis, RedisCluster):
            # A sharded channel, on one server. Other channels are forwarded between servers, with a delay.
            redis, command = server_of(redis, CHANNEL), "SSUBSCRIBE"
        pool = redis.connection_pool
        self._connection = pool.connection_class(
            **pool.connection_kwargs | {"protocol": 2, "retry": Retry(NoBackoff(), 0)}
        )
        self._connection.connect()
        self._connection.send_command(command, CHANNEL)
        # Raises MovedError if the channel is on another server of the cluster.
        self._connection.read_response()
        self._poll = select.poll()
        self._poll.register(self._connection._sock, select.POLLIN)
        self._awaits_pong = False
        # Whether read() was not exhausted: redis-py may have buffered messages, which poll() does not report.
        self.has_unread = False
        self._has_logged_invalid = False

    def has_messages(self) -> bool:
        """Polls the socket without waiting: under a microsecond."""
        return self.has_unread or bool(self._poll.poll(0))

    def read(self) -> Iterator[Message]:
        """Yields the messages received so far; RELOAD for an invalid one. Raises RedisError or OSError."""
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
                    "A message on %s in Redis is invalid (%s); each such message makes checks query the database",
                    CHANNEL,
                    error,
                )
            self._has_logged_invalid = True
            return RELOAD

    def ping(self) -> None:
        """Call it about once a second. Raises ConnectionError if Redis did not reply to the previous ping."""
        if self._awaits_pong:
            raise ConnectionError("Redis does not reply")
        self._awaits_pong = True
        self._connection.send_command("PING")

    def close(self) -> None:
        self._connection.disconnect()


class Subscriber:
    """Opens subscriptions in a thread, so that no request waits for Redis, and stores the current one."""

    def __init__(self) -> None:
        self.subscription: Subscription | None = None
        self._connecting: threading.Thread | None = None
        self._connected: Subscription | None = None
        self._retry_at = 0.0
        self._outage_log = OutageLog(
            "No blocklist messages from Redis; every check queries the database meanwhile",
            "Blocklist messages from Redis are received again",
        )

    def take(self) -> Subscription | None:
        """The subscription that was opened since the last call; None, and a thread that opens one, otherwise."""
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
