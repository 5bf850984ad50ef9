"""Faults of Valkey, and of the connections to it."""

import random
from collections.abc import Callable
from contextlib import suppress

import redis

from tests.chaos.fleet import Fleet
from tests.chaos.proxy import Proxy
from tests.chaos.staging import Staged, dies, rest


def valkey_of(fleet: Fleet) -> redis.Redis:
    return redis.Redis.from_url(fleet.valkey.url, socket_timeout=5)


def valkey_killed(fleet: Fleet, rng: random.Random) -> None:
    fleet.valkey.kill()
    rest(rng)
    fleet.valkey.start()


def valkey_flushed(fleet: Fleet, rng: random.Random) -> None:
    valkey_of(fleet).flushall()


def valkey_paused(fleet: Fleet, rng: random.Random) -> None:
    fleet.valkey.pause()
    rest(rng, 1, 10)
    fleet.valkey.resume()


def valkey_full(fleet: Fleet, rng: random.Random, policy: str) -> None:
    valkey = valkey_of(fleet)
    valkey.config_set("maxmemory-policy", policy)
    valkey.config_set("maxmemory", "1mb")
    with suppress(redis.RedisError):
        for number in range(100):
            valkey.set(f"filler:{number}", "x" * 20_000)
    rest(rng)
    valkey.config_set("maxmemory", "0")


def valkey_full_and_refusing(fleet: Fleet, rng: random.Random) -> None:
    valkey_full(fleet, rng, "noeviction")


def valkey_full_and_evicting(fleet: Fleet, rng: random.Random) -> None:
    valkey_full(fleet, rng, "allkeys-lru")


def valkey_a_read_only_replica(fleet: Fleet, rng: random.Random) -> None:
    valkey = valkey_of(fleet)
    valkey.replicaof("127.0.0.1", 1)
    rest(rng)
    valkey.replicaof("NO", "ONE")


def subscriptions_to_valkey_killed(fleet: Fleet, rng: random.Random) -> None:
    valkey_of(fleet).client_kill_filter(_type="pubsub")


def disk_full(fleet: Fleet, rng: random.Random) -> None:
    """A snapshot cannot be written, so that Valkey refuses writes (MISCONF)."""
    assert fleet.disk_of_valkey
    valkey = valkey_of(fleet)
    valkey.config_set("dir", str(fleet.disk_of_valkey.folder))
    fleet.disk_of_valkey.fill()
    # One change in an hour asks for snapshots: without this, a failure of one has no consequence.
    valkey.config_set("save", "3600 1")
    valkey.bgsave()
    rest(rng, 1, 4)
    valkey.config_set("save", "")
    fleet.disk_of_valkey.make_room()


def way(trouble: Callable[..., None], *arguments: float) -> Staged:
    def stage(fleet: Fleet, rng: random.Random) -> None:
        proxy = rng.choice(fleet.to_valkey)
        trouble(proxy, *arguments)
        rest(rng, 1, 4)
        proxy.heal()

    return stage


KINDS: dict[str, Staged] = {
    "Valkey killed, restarted empty": valkey_killed,
    "Valkey flushed": valkey_flushed,
    "Valkey paused up to 10 s": valkey_paused,
    "Valkey full, noeviction": valkey_full_and_refusing,
    "Valkey full, allkeys-lru": valkey_full_and_evicting,
    "Valkey a read-only replica": valkey_a_read_only_replica,
    "subscriptions to Valkey killed": subscriptions_to_valkey_killed,
    "a node's way to Valkey half-open": way(Proxy.fall_silent),
    "a node's way to Valkey slow by 2 s": way(Proxy.slow_down, 2.0),
    "a node's way to Valkey reset": way(Proxy.cut),
    "killed -9 between commit and broadcast": dies("between commit and broadcast"),
}
ON_A_SMALL_DISK: dict[str, Staged] = {"Valkey's disk full": disk_full}
