"""The servers of tests/servers.py: start, stop, kill and pause."""

from contextlib import ExitStack

import psutil
import psycopg
import pytest
import redis

from tests import servers

pytestmark = pytest.mark.once


def test_a_postgres_starts_answers_and_stops():
    with servers.postgres() as postgres, psycopg.connect(postgres.create_database("library")) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("library",)
    assert postgres.process.returncode is not None
    assert not postgres.folder.exists()


def test_a_killed_postgres_can_start_again():
    with servers.postgres() as postgres, ExitStack() as connections:
        for _ in range(50):
            connections.enter_context(psycopg.connect(postgres.url))
        of_connections = psutil.Process(postgres.process.pid).children()
        postgres.kill()
        left = [each for each in of_connections if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
        assert left == []
        (postgres.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        postgres.start()


def test_a_valkey_starts_answers_and_stops():
    with servers.valkey() as valkey:
        assert redis.Redis.from_url(valkey.url).ping()
    assert valkey.process.returncode is not None
    assert not valkey.folder.exists()


def test_a_killed_valkey_starts_again_empty_on_the_same_port():
    with servers.valkey() as valkey:
        client = redis.Redis.from_url(valkey.url)
        client.set("key", "value")
        valkey.kill()
        assert not valkey.answers()
        valkey.start()
        assert client.get("key") is None


def test_a_paused_valkey_continues_with_its_data():
    with servers.valkey() as valkey:
        client = redis.Redis.from_url(valkey.url, socket_timeout=0.1, retry=None)
        client.set("key", "value")
        valkey.pause()
        with pytest.raises(redis.TimeoutError):
            client.get("key")
        valkey.resume()
        assert client.get("key") == b"value"


def test_a_server_that_cannot_start_shows_its_log():
    with servers.valkey() as valkey:
        rival = servers.Valkey(valkey.folder)
        rival.command = valkey.command
        with pytest.raises(RuntimeError, match="Address already in use"):
            rival.start()
