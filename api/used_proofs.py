"""
Which DPoP proofs were used: each is good once, on whichever node. Redis remembers them; the database does where there
is no Redis, or while it is out of reach.

A memory that may have forgotten something says so: what Redis lost (flushed, evicted, restarted from an old snapshot,
failed over to a replica that lags behind) takes the memory's birthday along, so that it is a new one. A nonce names the
memory that is to remember the proof, and is worth nothing in any other; a proof without one is taken only by a memory
that is older than any such proof can be. So no proof is ever taken twice, and a client that is asked for a nonce
(RFC 9449, section 8) needs one more round trip and nothing else.
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

from api.blocklist.news import TROUBLE
from api.models import UsedProof
from api.outages import OutageLog

# How long a nonce is good.
NONCE = timedelta(minutes=5)
# How long Redis is left alone after trouble, in seconds.
RETRY_AFTER = 1.0
DATABASE = "database"
# As Redis writes a score: minus, seconds since 1970 and 20 random bits.
BIRTHDAY = re.compile(rb"-[0-9]{10,17}")


class AlreadyUsed(Exception):
    pass


class NonceWanted(Exception):
    """The proof must have this nonce; one that had another was not taken."""

    def __init__(self, nonce: str) -> None:
        super().__init__(nonce)
        self.nonce = nonce


def kept_for() -> timedelta:
    """Longer than any proof is taken, on nodes whose clocks differ."""
    return NONCE + 3 * settings.JWT_LEEWAY


class RedisMemory:
    """
    One sorted set: proofs by when they may be forgotten, and its birthday under the replication id of the server, which
    is another after a restart or a fail-over. All of it is lost together or not at all.
    """

    KEY = "wp:dpop"
    SCRIPT = """
        local server = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
        local born = redis.call('ZSCORE', KEYS[1], server)
        if not born then
            born = '-' .. ARGV[4]
            redis.call('DEL', KEYS[1])
            redis.call('ZADD', KEYS[1], born, server)
        end
        local is_new = redis.call('ZADD', KEYS[1], 'NX', ARGV[2], ARGV[1])
        redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, ARGV[3])
        return {is_new, born}
    """
    # A birthday is in seconds, with a random number after them: two of the same second are not the same.
    RANDOM_BITS = 20

    def __init__(self) -> None:
        self._retry_at = 0.0
        self._health = OutageLog(
            "Redis does not remember DPoP proofs; the database does", "Redis remembers DPoP proofs"
        )

    def is_left_alone(self) -> bool:
        return time.monotonic() < self._retry_at

    def remember(self, proof: UUID) -> tuple[bool, int]:
        """Whether it was not known before, and the memory's birthday. One round trip. Raises TROUBLE."""
        now = time.time()
        birthday = int(now) << self.RANDOM_BITS | secrets.randbits(self.RANDOM_BITS)
        arguments = [proof.bytes, now + kept_for().total_seconds(), now, birthday]
        try:
            is_new, born = self._script(keys=[self.KEY], args=arguments, client=get_redis_connection("default"))
            birthday = _birthday_in(born)
        except TROUBLE as error:
            self._retry_at = time.monotonic() + RETRY_AFTER
            self._health.failed(error)
            raise
        self._health.recovered()
        return bool(is_new), birthday

    def is_whole(self, birthday: int) -> bool:
        """Whether it remembers every proof that may be shown without a nonce."""
        return time.time() - (birthday >> self.RANDOM_BITS) > kept_for().total_seconds()

    @cached_property
    def _script(self) -> Any:
        return get_redis_connection("default").register_script(self.SCRIPT)


def _birthday_in(score: object) -> int:
    """Raises ValueError for a score that no process of ours gave it: they are negative, and whole."""
    if not (isinstance(score, bytes) and BIRTHDAY.fullmatch(score)):
        raise ValueError("not a birthday")
    return -int(score)


redis_memory = RedisMemory()


def use(proof: UUID, nonce: str | None, is_fresh: bool) -> None:
    """
    Uses it up; `is_fresh` says whether its own time would do. Raises AlreadyUsed or NonceWanted. One round trip to
    Redis, or one statement.
    """
    memory = _memory_of(nonce)
    if not settings.REDIS_URL or memory == DATABASE or redis_memory.is_left_alone():
        return _use_in_database(proof, memory, is_fresh and nonce is None and not settings.REDIS_URL)
    try:
        is_new, birthday = redis_memory.remember(proof)
    except TROUBLE:
        raise NonceWanted(_new_nonce(DATABASE)) from None
    if not is_new:
        raise AlreadyUsed
    if memory == str(birthday) or (nonce is None and is_fresh and redis_memory.is_whole(birthday)):
        return None
    raise NonceWanted(_new_nonce(str(birthday)))


def _use_in_database(proof: UUID, memory: str | None, needs_no_nonce: bool) -> None:
    if memory != DATABASE and not needs_no_nonce:
        raise NonceWanted(_new_nonce(DATABASE))
    if not UsedProof.objects.remember(proof, timezone.now() + kept_for()):
        raise AlreadyUsed


def _signer() -> TimestampSigner:
    return TimestampSigner(salt="api.used_proofs")


def _new_nonce(memory: str) -> str:
    return _signer().sign(memory)


def _memory_of(nonce: str | None) -> str | None:
    """Which memory it names; None if it is not ours, or too old."""
    try:
        return _signer().unsign(nonce, max_age=NONCE) if nonce is not None else None
    except (BadSignature, UnicodeEncodeError):
        # The latter for a lone surrogate, which JSON can spell and no nonce of ours has.
        return None
