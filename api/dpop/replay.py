"""
Replay protection: each DPoP proof is accepted once, across all nodes. Redis stores the proofs that were used; without
Redis, or while it is unavailable, the database does.

Redis may lose data (by a flush, eviction, an old snapshot, or a fail-over to a replica that lags behind). The id of the
store is then lost too, and the store gets a new one. A nonce contains the id of the store that must record the proof,
and is invalid for any other. A proof without a nonce is accepted only by a store that is older than any such proof can
be. So no proof is accepted twice; a client that needs a nonce (RFC 9449, section 8) has one more round trip.
"""

import re
import secrets
import time
from datetime import timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner
from django.utils import timezone
from django_redis import get_redis_connection

from api.models import UsedProof
from api.outages import OutageLog
from api.redis import REDIS_ERRORS

# How long a nonce is valid.
NONCE_LIFETIME = timedelta(minutes=5)
# How long Redis is not used after an error, in seconds.
RETRY_SECONDS = 1.0
DATABASE = "database"
# The score of a store id in Redis: a minus, then an integer of seconds since 1970 and 20 random bits.
STORE_ID_SCORE = re.compile(rb"-[0-9]{10,17}")


class AlreadyUsed(Exception):
    """The proof was accepted before."""


class NonceRequired(Exception):
    """The proof was refused: it must have this nonce."""

    def __init__(self, nonce: str) -> None:
        super().__init__(nonce)
        self.nonce = nonce


def retention() -> timedelta:
    """How long used proofs are stored: longer than any is valid, on nodes whose clocks differ."""
    return NONCE_LIFETIME + 3 * settings.JWT_LEEWAY


class RedisProofStore:
    """
    A sorted set in Redis. The proofs have the time of their deletion as score; the replication id of the server, which
    changes with a restart or a fail-over, has the negative store id. One key, so that all is lost together or nothing.
    """

    KEY = "wp:dpop"
    SCRIPT = """
        local server = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
        local store_id = redis.call('ZSCORE', KEYS[1], server)
        if not store_id then
            store_id = '-' .. ARGV[4]
            redis.call('DEL', KEYS[1])
            redis.call('ZADD', KEYS[1], store_id, server)
        end
        local is_new = redis.call('ZADD', KEYS[1], 'NX', ARGV[2], ARGV[1])
        redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, ARGV[3])
        return {is_new, store_id}
    """
    # Random bits after the seconds of a store id, so that two of the same second differ.
    RANDOM_BITS = 20

    def __init__(self) -> None:
        self._retry_at = 0.0
        self._outage_log = OutageLog(
            "Redis does not store DPoP proofs; the database does", "Redis stores DPoP proofs again"
        )

    def in_backoff(self) -> bool:
        return time.monotonic() < self._retry_at

    def add(self, proof: UUID) -> tuple[bool, int]:
        """Returns whether the proof is new, and the id of the store. One round trip. Raises REDIS_ERRORS."""
        now = time.time()
        store_id = int(now) << self.RANDOM_BITS | secrets.randbits(self.RANDOM_BITS)
        arguments = [proof.bytes, now + retention().total_seconds(), now, store_id]
        try:
            is_new, score = self._script(keys=[self.KEY], args=arguments, client=get_redis_connection("default"))
            store_id = _parse_store_id(score)
        except REDIS_ERRORS as error:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._outage_log.failed(error)
            raise
        self._outage_log.recovered()
        return bool(is_new), store_id

    def covers_nonce_less(self, store_id: int) -> bool:
        """Whether the store is old enough to have every proof without a nonce that is still valid."""
        return time.time() - (store_id >> self.RANDOM_BITS) > retention().total_seconds()

    @cached_property
    def _script(self) -> Any:
        return get_redis_connection("default").register_script(self.SCRIPT)


def _parse_store_id(score: object) -> int:
    """Raises ValueError for a score that add() did not write."""
    if not (isinstance(score, bytes) and STORE_ID_SCORE.fullmatch(score)):
        raise ValueError("not a store id")
    return -int(score)


redis_store = RedisProofStore()


def consume(proof: UUID, nonce: str | None, is_recent: bool) -> None:
    """
    Records a proof as used. `is_recent` is whether its `iat` is valid, for a proof without a nonce. Raises AlreadyUsed
    or NonceRequired. One round trip to Redis, or one statement.
    """
    store = _store_in(nonce)
    if not settings.REDIS_URL or store == DATABASE or redis_store.in_backoff():
        return _consume_in_database(proof, store, is_recent and nonce is None and not settings.REDIS_URL)
    try:
        is_new, store_id = redis_store.add(proof)
    except REDIS_ERRORS:
        raise NonceRequired(_new_nonce(DATABASE)) from None
    if not is_new:
        raise AlreadyUsed
    if store == str(store_id) or (nonce is None and is_recent and redis_store.covers_nonce_less(store_id)):
        return None
    raise NonceRequired(_new_nonce(str(store_id)))


def _consume_in_database(proof: UUID, store: str | None, is_valid_nonce_less: bool) -> None:
    if store != DATABASE and not is_valid_nonce_less:
        raise NonceRequired(_new_nonce(DATABASE))
    if not UsedProof.objects.add(proof, timezone.now() + retention()):
        raise AlreadyUsed


def _signer() -> TimestampSigner:
    return TimestampSigner(salt="api.used_proofs")


def _new_nonce(store: str) -> str:
    return _signer().sign(store)


def _store_in(nonce: str | None) -> str | None:
    """The store id in a nonce; None if the nonce has no valid signature, or is too old."""
    try:
        return _signer().unsign(nonce, max_age=NONCE_LIFETIME) if nonce is not None else None
    except (BadSignature, UnicodeEncodeError):
        # UnicodeEncodeError: JSON can contain a lone surrogate.
        return None
