"""The options of databases and Redis, from what the environment says of them."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import environ
import psycopg
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import make_conninfo
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool, parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import SentinelManagedSSLConnection

from project.environment import URL_EXPECTED, Environment, split_url

POSTGRESQL = ("postgres", "postgresql", "psql", "pgsql")
DATABASE_EXAMPLE = "postgres://user:password@db.example.org/wristband or sqlite:////srv/wristband.sqlite3"
REDIS = ("redis", "rediss", "unix")
REDIS_DATABASE = re.compile(r"(/[0-9]*)?")
REDIS_EXAMPLE = "redis://user:password@cache.example.org:6379/0"
# To connect, and to get an answer: together within the 250 ms that a request may wait for Redis.
REDIS_TIMEOUT_SECONDS = 0.12
REDIS_PATIENCE = {"socket_connect_timeout": REDIS_TIMEOUT_SECONDS, "socket_timeout": REDIS_TIMEOUT_SECONDS}
DATABASE_PATIENCE = {
    "connect_timeout": 3,
    # A way that drops packets is noticed by commands, too: in seconds, and by the kernel in milliseconds.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}


def database_url(env: Environment, name: str) -> str:
    """Empty if it is unset, or will not do."""
    url = env.text(name)
    if not url:
        return ""
    if url.startswith("sqlite://"):
        return url if _names_a_place(env, name, url) else ""
    if _is_postgresql(url):
        return url
    env.refuse(name, URL_EXPECTED.format(example=DATABASE_EXAMPLE))
    return ""


def _is_postgresql(url: str) -> bool:
    scheme, separator, rest = url.partition("://")
    if scheme not in POSTGRESQL or not separator or not url.isprintable() or " " in url:
        return False
    try:
        config: dict[str, Any] = environ.Env.db_url_config(url)
        make_conninfo(**config.get("OPTIONS", {}))
    except (ValueError, ImproperlyConfigured, psycopg.Error):
        return False
    # A slash or a question mark in a password that is not percent-encoded ends the host too early.
    is_cut = "?" in rest.partition("/")[0] or "@" in config["NAME"] or "/" in config["NAME"]
    return bool(config["NAME"]) and not is_cut


def _names_a_place(env: Environment, name: str, url: str) -> bool:
    path = sqlite_path(url)
    if path and not path.parent.is_dir():
        env.refuse(name, "a SQLite file in a folder that exists", url)
        return False
    return True


def sqlite_path(url: str) -> Path | None:
    """None for a database in memory."""
    name = environ.Env.db_url_config(url)["NAME"]
    return None if name == ":memory:" else Path(name)


def sqlite(url: str) -> dict[str, Any]:
    return environ.Env.db_url_config(url) | {
        "ENGINE": "project.sqlite",
        "OPTIONS": {
            # Writers queue for the lock where a transaction begins, so that no transaction fails half-way.
            "transaction_mode": "IMMEDIATE",
            "timeout": 10,
            "init_command": "PRAGMA journal_mode=WAL",
        },
    }


def postgresql(url: str, *, pool_size: int, is_behind_pgbouncer: bool) -> dict[str, Any]:
    config: dict[str, Any] = environ.Env.db_url_config(url)
    host = urlsplit(url).netloc.rpartition("@")[2]
    if host.upper().startswith("%2F"):
        config["HOST"] = unquote(host)
    config["ENGINE"] = "project.postgresql"
    config["CONN_MAX_AGE"] = 0 if pool_size else 600
    # What one transaction leaves on a connection of PgBouncer's, the next does not find.
    config["DISABLE_SERVER_SIDE_CURSORS"] = is_behind_pgbouncer
    own = {
        # Of project.postgresql: whether the limit goes along at the start of a connection, for PostgreSQL to keep.
        "sends_limits": not is_behind_pgbouncer,
        # Planned once per connection: PostgreSQL plans the statement of every browser's request longer than it runs it.
        "server_side_binding": True,
        "prepare_threshold": None if is_behind_pgbouncer else 3,
    }
    config["OPTIONS"] = DATABASE_PATIENCE | own | config.get("OPTIONS", {})
    if pool_size:
        config["OPTIONS"]["pool"] = {
            "min_size": 0,
            "max_size": pool_size,
            # Seconds: to wait for one, and until the pool says that none can be had (its attempts get rarer).
            "timeout": 3,
            "reconnect_timeout": 1,
        }
    return config


def redis_url(env: Environment, name: str, *, is_cluster: bool) -> str:
    """Empty if it is unset, or will not do. Of a Cluster several, separated by commas."""
    urls = env.items(name)
    if not urls or (all(map(_is_redis, urls)) and (is_cluster or len(urls) == 1)):
        return ",".join(urls)
    env.refuse(name, URL_EXPECTED.format(example=REDIS_EXAMPLE) + " (several only with REDIS_CLUSTER)")
    return ""


def redis_urls(env: Environment, name: str) -> list[str]:
    urls = env.items(name)
    if all(map(_is_redis, urls)):
        return urls
    env.refuse(name, f"{URL_EXPECTED.format(example='redis://sentinel.example.org:26379')}; separated by commas")
    return []


def _is_redis(url: str) -> bool:
    """Also tried as a connection that is not opened: an unknown option would look like a Redis that is away."""
    parts = split_url(url, REDIS)
    if not parts or (parts.scheme != "unix" and not REDIS_DATABASE.fullmatch(parts.path)):
        return False
    try:
        connection = ConnectionPool.from_url(url).make_connection()
    except (ValueError, TypeError, RedisError):
        return False
    authorities = getattr(connection, "ca_certs", None)
    return authorities is None or Path(authorities).is_file()


def caches(url: str, sentinels: list[str], *, is_cluster: bool) -> dict[str, dict[str, Any]]:
    if not url:
        return {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    # Once more for a connection that Redis closed meanwhile, and never after a time-out.
    pool: dict[str, Any] = {"retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))}
    if sentinels and url.startswith("rediss://"):
        pool["connection_class"] = SentinelManagedSSLConnection
    options = {
        # Pickle, the default, would run the code of whoever writes to Redis.
        "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
        "CONNECTION_POOL_CLASS": "api.compare.costs.CountedPool",
        "SOCKET_CONNECT_TIMEOUT": REDIS_TIMEOUT_SECONDS,
        "SOCKET_TIMEOUT": REDIS_TIMEOUT_SECONDS,
        "CONNECTION_POOL_KWARGS": pool,
    }
    if sentinels:
        options |= _sentinel_options(sentinels)
    elif is_cluster:
        options["CONNECTION_FACTORY"] = "api.redis.ClusterFactory"
    cache = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": [url], "KEY_PREFIX": "wp", "OPTIONS": options}
    return {"default": cache}


def _sentinel_options(urls: list[str]) -> dict[str, Any]:
    """Of django-redis. All Sentinels are reached as the first is: its credentials, its TLS."""
    sentinels = [parse_url(url) for url in urls]
    addresses = [(each.pop("host"), each.pop("port", 26379)) for each in sentinels]
    kwargs = {"ssl": sentinels[0].pop("connection_class", None) is not None, "retry": Retry(NoBackoff(), 0)}
    # Not django-redis's SentinelClient, which reads from replicas: they lag behind.
    return {
        "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
        "CONNECTION_POOL_CLASS": "api.compare.costs.CountedSentinelPool",
        "SENTINELS": addresses,
        "SENTINEL_KWARGS": REDIS_PATIENCE | kwargs | sentinels[0],
    }
