"""DPoP proofs are accepted once, whatever happens to the Redis that stores them, and calls succeed."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import redis
from django.db import connection

from api.blocklist.mirror import Mirror
from api.dpop import replay
from tests.api.blocklist.test_mirror import use
from tests.api.test_bound_tokens import ME, Holder
from tests.stopwatch import stopwatch

pytestmark = pytest.mark.django_db(transaction=True)

# A request may wait twice for Redis, a quarter of a second each; the rest is for a slow machine.
LONGEST_ANSWER = 1.5


@pytest.fixture
def valkey(one_valkey, settings, monkeypatch):
    use(one_valkey.url, settings)
    monkeypatch.setattr(replay, "redis_store", replay.RedisProofStore())
    monkeypatch.setattr("api.tokens.access.mirror", Mirror())
    return one_valkey


class Client:
    """A client that uses the nonces of the server, and sends every proof twice at the same time."""

    def __init__(self, username, password):
        self.holder = Holder()
        self.taken = Counter()
        assert self.holder.sign_in(username, password).status_code == 200

    def call(self):
        for _ in range(3):
            proof = self.holder.proof("GET", ME, self.holder.access)
            answers = self.show(proof, times=2)
            if any(answer.status_code == 200 for answer in answers):
                return
            for answer in answers:
                assert answer.json()["code"] in {"use_dpop_nonce", "invalid_dpop_proof"}
                self.holder.nonce = answer.headers.get("DPoP-Nonce", self.holder.nonce)
        raise AssertionError("the call did not go on")

    def replay(self):
        """Sends all proofs again: one that was refused without Redis may be accepted later, once."""
        for proof in list(self.taken):
            self.show(proof, times=1)
        assert max(self.taken.values()) == 1

    def show(self, proof, times):
        barrier = Barrier(times)

        def send(_):
            try:
                barrier.wait()
                with stopwatch() as watch:
                    answer = self.holder.send("GET", "/api/me/", proof=proof)
                    assert watch.seconds < LONGEST_ANSWER
                return answer
            finally:
                connection.close()

        with ThreadPoolExecutor(times) as pool:
            answers = list(pool.map(send, range(times)))
        self.taken[proof] += sum(answer.status_code == 200 for answer in answers)
        return answers


def stopped(valkey):
    valkey.pause()
    yield
    valkey.resume()


def killed(valkey):
    valkey.kill()
    yield
    valkey.start()


def flushed(valkey):
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
        yield
        client.flushall()


def evicted(valkey):
    with redis.Redis.from_url(valkey.url) as client:
        assert client.delete(replay.RedisProofStore.KEY)
        yield


def out_of_reach_of_one_node(valkey):
    """Redis is unreachable from one node only."""
    replay.redis_store._retry_at = float("inf")
    yield
    replay.redis_store._retry_at = 0.0


@pytest.mark.parametrize("fault", [stopped, killed, flushed, evicted, out_of_reach_of_one_node])
def test_no_proof_is_accepted_twice_and_calls_succeed(valkey, ann, password, fault):
    client = Client(ann.username, password)
    client.call()
    for _ in fault(valkey):
        client.replay()
        client.call()
        client.replay()
    # Redis is tried again after a second.
    for _ in range(3):
        client.call()
        client.replay()
        replay.redis_store._retry_at = 0.0
    assert sum(client.taken.values()) >= 5


def test_a_proof_in_flight_when_redis_stopped_is_refused_later(valkey, ann, password):
    client = Client(ann.username, password)
    client.call()
    # On a busy machine Redis may be too slow for this call; its nonce is then from the database.
    client.holder.nonce = None
    proof = client.holder.proof("GET", ME, client.holder.access)
    valkey.pause()
    try:
        [answer] = client.show(proof, times=1)
        assert answer.json()["code"] == "use_dpop_nonce"
        client.call()
    finally:
        valkey.resume()
    replay.redis_store._retry_at = 0.0
    # Redis may have received this proof before the timeout, and then it is spent.
    taken = [client.show(proof, times=1)[0].status_code == 200 for _ in range(3)]
    assert sum(taken) <= 1
    client.call()
    client.replay()


@pytest.mark.parametrize("score", ["inf", "-inf", "1e300", "-1e300", "17", "-1.5", "0"])
def test_a_foreign_store_id_in_redis_is_not_an_error(valkey, ann, password, score):
    client = Client(ann.username, password)
    client.call()
    with redis.Redis.from_url(valkey.url) as forger:
        server = forger.info("replication")["master_replid"]
        for _ in range(3):
            forger.zadd(replay.RedisProofStore.KEY, {server: score})
            replay.redis_store._retry_at = 0.0
            client.call()
            client.replay()
