"""Rate limits by address."""

import os
import pickle
from pathlib import Path

import pytest
from django.conf import settings
from django_redis import get_redis_connection

from accounts import rate_limits
from api.throttling import AddressThrottle
from tests import servers
from tests.stopwatch import stopwatch

pytestmark = pytest.mark.django_db

THROTTLED = {
    "/api/token/refresh/": {"refresh": "x"},
    "/api/token/verify/": {"token": "x"},
    "/api/token/blacklist/": {"refresh": "x"},
    "/api/token/revoke/": {"token": "x"},
    "/api/register/": {"username": "", "email": "", "password": ""},
    "/api/password/reset/": {"email": "nobody@example.org"},
    "/api/password/reset/confirm/": {"uid": "x", "token": "x", "new_password": "x"},
}


@pytest.fixture(autouse=True)
def three_requests_a_minute(monkeypatch):
    """Three requests in a minute, at every endpoint."""
    monkeypatch.setitem(rate_limits.LIMITS, rate_limits.Kind.SIGN_UP, rate_limits._quota("3/minute"))
    monkeypatch.setattr(AddressThrottle, "THROTTLE_RATES", {"tokens": "3/min", "accounts": "3/min"})
    monkeypatch.setattr(AddressThrottle, "_retry_at", 0.0)
    AddressThrottle.local_cache.clear()


@pytest.mark.parametrize("path", THROTTLED)
def test_a_throttled_address_gets_a_retry_after_header(anonymous, path):
    answers = [anonymous.post(path, THROTTLED[path]) for _ in range(4)]
    assert 429 not in {answer.status_code for answer in answers[:3]}
    assert answers[3].status_code == 429
    assert answers[3].json()["code"] == "throttled"
    assert 0 < int(answers[3].headers["Retry-After"]) <= 60


def test_another_address_is_not_throttled(anonymous):
    path = "/api/token/verify/"
    for _ in range(4):
        anonymous.post(path, THROTTLED[path])
    assert anonymous.post(path, THROTTLED[path], REMOTE_ADDR="203.0.113.9").status_code == 401


def test_a_forwarded_header_of_a_client_is_ignored(anonymous):
    path = "/api/token/verify/"
    for number in range(3):
        anonymous.post(path, THROTTLED[path], headers={"X-Forwarded-For": f"203.0.113.{number}"})
    answer = anonymous.post(path, THROTTLED[path], headers={"X-Forwarded-For": "203.0.113.9"})
    assert answer.status_code == 429


@pytest.mark.skipif(not settings.REDIS_URL, reason="no Redis")
@pytest.mark.parametrize("trouble", ["killed", "stopped in mid-air"])
def test_without_redis_it_counts_in_the_process_without_delay(anonymous, trouble, settings):
    with servers.valkey() as valkey:
        settings.CACHES = settings.CACHES | {"default": settings.CACHES["default"] | {"LOCATION": valkey.url}}
        assert anonymous.post("/api/token/verify/", {"token": "x"}).status_code == 401
        valkey.pause() if trouble == "stopped in mid-air" else valkey.kill()
        answers, waits = [], []
        for _ in range(4):
            with stopwatch() as watch:
                answers.append(anonymous.post("/api/token/verify/", {"token": "x"}).status_code)
                waits.append(watch.seconds)
    assert answers == [401, 401, 401, 429]
    # A quarter of a second for Redis, and what the request itself takes on a busy machine.
    assert max(waits) < 1, (waits, os.getloadavg())


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def overwrite(value):
    """Overwrites every value in Redis."""
    redis = get_redis_connection("default")
    keys = redis.keys("*")
    assert any(b"throttle_tokens" in key for key in keys)
    redis.mset(dict.fromkeys(keys, value))


@pytest.mark.skipif(not settings.REDIS_URL, reason="no Redis")
def test_foreign_data_in_redis_is_neither_run_nor_an_error(anonymous, tmp_path):
    path = "/api/token/verify/"
    anonymous.post(path, THROTTLED[path])
    bomb = pickle.dumps(Bomb(tmp_path / "mark"))
    overwrite(bomb)
    assert anonymous.post(path, THROTTLED[path]).status_code == 401
    assert not (tmp_path / "mark").exists()
    pickle.loads(bomb)  # noqa: S301 (it does go off)
    assert (tmp_path / "mark").exists()


@pytest.mark.skipif(not settings.REDIS_URL, reason="no Redis")
@pytest.mark.parametrize("value", [b"{}", b'{"a": 1}', b'"text"', b'["text"]', b'{"$d": 1}', b"5", b"null", b"\xff"])
def test_json_of_another_shape_in_redis_is_ignored(anonymous, value):
    path = "/api/token/verify/"
    anonymous.post(path, THROTTLED[path])
    overwrite(value)
    assert anonymous.post(path, THROTTLED[path]).status_code == 401


@pytest.mark.skipif(not settings.REDIS_URL, reason="no Redis")
@pytest.mark.parametrize(
    "value",
    [
        b"[Infinity, Infinity, Infinity, Infinity]",
        b"[NaN, NaN, NaN, NaN]",
        b"[1e300, 1e300, 1e300, 1e300]",
        b"[99999999999, 99999999999, 99999999999]",
        b"[" + b"9" * 4_299 + b", 1" * 3 + b"]",
        b"[true, true, true, Infinity]",
        b"[" * 5_000 + b"]" * 5_000,
    ],
    ids=lambda value: value[:20].decode(),
)
def test_foreign_times_in_redis_throttle_no_client(anonymous, value):
    path = "/api/token/verify/"
    anonymous.post(path, THROTTLED[path])
    overwrite(value)
    answers = []
    for _ in range(3):
        AddressThrottle._retry_at = 0.0
        answers.append(anonymous.post(path, THROTTLED[path]).status_code)
    assert answers == [401, 401, 401]
