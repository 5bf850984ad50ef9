"""Database and Redis options from URLs in the environment."""

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

from project.environment import URL_EXPECTED, Environment
from project.setting_values import split_url

POSTGRESQL = ("postgres", "postgresql", "psql", "pgsql")
DATABASE_EXAMPLE = "postgres://user:password@db.example.org/wristband or sqlite:////srv/wristband.sqlite3"
REDIS = ("redis", "rediss", "unix")
REDIS_DATABASE = re.compile(r"(/[0-9]*)?")
REDIS_EXAMPLE = "redis://user:password@cache.example.org:6379/0"
# To connect, and to get a response: together less than the 250 ms that a request may wait for Redis.
REDIS_TIMEOUT_SECONDS = 0.12
REDIS_TIMEOUT_OPTIONS = {"socket_connect_timeout": REDIS_TIMEOUT_SECONDS, "socket_timeout": REDIS_TIMEOUT_SECONDS}
DATABASE_TIMEOUT_OPTIONS = {
    "connect_timeout": 3,
    # Commands have no deadline: these options detect a network that drops packets. tcp_user_timeout is in milliseconds.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}


def database_url(env: Environment, name: str) -> str:
    """Empty if it is unset or invalid."""
    url = env.text(name)
    if not url:
        return ""
    if url.startswith("sqlite://"):
        return url if _has_folder(env, name, url) else ""
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
    # A slash or question mark in a password that is not percent-encoded ends the host too early.
    is_truncated = "?" in rest.partition("/")[0] or "@" in config["NAME"] or "/" in config["NAME"]
    return bool(config["NAME"]) and not is_truncated


def _has_folder(env: Environment, name: str, url: str) -> bool:
    path = sqlite_path(url)
    if path and not path.parent.is_dir():
        env.refuse(name, "a SQLite file in a folder that exists", url)
        return False
    return True


def sqlite_path(url: str) -> Path | None:
    """None for a database in memory."""
    name = environ.Env.db_url_config(url)["NAME"]
    return None if name == ":memory:" else Path(name)


def databases(
    env: Environment, url: str, folder: Path, *, pool_size: int, is_behind_pgbouncer: bool
) -> dict[str, dict[str, Any]]:
    """Without a URL: SQLite in `folder`, which is created."""
    if url and not url.startswith("sqlite:"):
        return {"default": postgresql(url, pool_size=pool_size, is_behind_pgbouncer=is_behind_pgbouncer)}
    if not url:
        env.make_folder(folder, "DATABASE_URL is not set, and the folder of the embedded database cannot be created")
    return {"default": sqlite(url or f"sqlite:///{folder / 'db.sqlite3'}")}


def sqlite(url: str) -> dict[str, Any]:
    return environ.Env.db_url_config(url) | {
        "ENGINE": "project.sqlite",
        "OPTIONS": {
            # A transaction waits for the write lock when it begins, so that it does not fail in the middle.
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
    # Behind PgBouncer, the next transaction may run on another connection.
    config["DISABLE_SERVER_SIDE_CURSORS"] = is_behind_pgbouncer
    own_options = {
        # For project.postgresql: sends the deadline when a connection starts, for PostgreSQL to enforce.
        "sends_limits": not is_behind_pgbouncer,
        # Plans a statement once for each connection: planning that of a browser's request takes longer than running it.
        "server_side_binding": True,
        "prepare_threshold": None if is_behind_pgbouncer else 3,
    }
    config["OPTIONS"] = DATABASE_TIMEOUT_OPTIONS | own_options | config.get("OPTIONS", {})
    if pool_size:
        config["OPTIONS"]["pool"] = {
            "min_size": 0,
            "max_size": pool_size,
            # In seconds: the wait for a connection, and for how long the pool retries before it reports a failure.
            "timeout": 3,
            "reconnect_timeout": 1,
        }
    return config


def redis_url(env: Environment, name: str, *, is_cluster: bool) -> str:
    """Empty if it is unset or invalid. With a Cluster it may be several URLs, separated by commas."""
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
    """Creates a connection without opening it: an unknown option would otherwise look like a Redis that is down."""
    parts = split_url(url, REDIS)
    if not parts or (parts.scheme != "unix" and not REDIS_DATABASE.fullmatch(parts.path)):
        return False
    try:
        connection = ConnectionPool.from_url(url).make_connection()
    except (ValueError, TypeError, RedisError):
        return False
    authorities = getattr(connection, "ca_certs", None)
    return authorities is None or Path(authorities).is_file()


def caches(url: str, sentinels: list[str], *, is_cluster: bool, is_demo: bool) -> dict[str, dict[str, Any]]:
    if not url:
        return {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    # One retry if Redis has closed the connection, and none after a timeout.
    pool: dict[str, Any] = {"retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))}
    if sentinels and url.startswith("rediss://"):
        pool["connection_class"] = SentinelManagedSSLConnection
    options = {
        # With pickle, the default, anyone who can write to Redis could run code here.
        "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
        "SOCKET_CONNECT_TIMEOUT": REDIS_TIMEOUT_SECONDS,
        "SOCKET_TIMEOUT": REDIS_TIMEOUT_SECONDS,
        "CONNECTION_POOL_KWARGS": pool,
    }
    if sentinels:
        options |= _sentinel_options(sentinels)
    elif is_cluster:
        options["CONNECTION_FACTORY"] = "api.redis.ClusterFactory"
    if is_demo:
        pool_class = "CountedSentinelPool" if sentinels else "CountedPool"
        options["CONNECTION_POOL_CLASS"] = f"api.compare.costs.{pool_class}"
    cache = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": [url], "KEY_PREFIX": "wp", "OPTIONS": options}
    return {"default": cache}


def _sentinel_options(urls: list[str]) -> dict[str, Any]:
    """For django-redis. All Sentinels are used with the credentials and the TLS options of the first."""
    sentinels = [parse_url(url) for url in urls]
    addresses = [(each.pop("host"), each.pop("port", 26379)) for each in sentinels]
    kwargs = {"ssl": sentinels[0].pop("connection_class", None) is not None, "retry": Retry(NoBackoff(), 0)}
    # Not django-redis's SentinelClient, which reads from replicas: they lag.
    return {
        "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
        "SENTINELS": addresses,
        "SENTINEL_KWARGS": REDIS_TIMEOUT_OPTIONS | kwargs | sentinels[0],
    }
