"""How often one address may ask."""

import os
import time

import pytest
from django.conf import settings

from api.throttling import AddressThrottle
from tests import servers

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
def few(monkeypatch):
    """Three in a minute, everywhere."""
    monkeypatch.setattr(AddressThrottle, "THROTTLE_RATES", {"tokens": "3/min", "accounts": "3/min"})
    monkeypatch.setattr(AddressThrottle, "_retry_at", 0.0)
    AddressThrottle.own_cache.clear()


@pytest.mark.parametrize("path", THROTTLED)
def test_an_address_that_asks_too_often_is_told_when_to_come_back(anonymous, path):
    answers = [anonymous.post(path, THROTTLED[path]) for _ in range(4)]
    assert 429 not in {answer.status_code for answer in answers[:3]}
    assert answers[3].status_code == 429
    assert answers[3].json()["code"] == "throttled"
    assert 0 < int(answers[3].headers["Retry-After"]) <= 60


def test_another_address_is_heard(anonymous):
    path = "/api/token/verify/"
    for _ in range(4):
        anonymous.post(path, THROTTLED[path])
    assert anonymous.post(path, THROTTLED[path], REMOTE_ADDR="203.0.113.9").status_code == 401


def test_what_a_client_says_of_its_own_address_counts_for_nothing(anonymous):
    path = "/api/token/verify/"
    for number in range(3):
        anonymous.post(path, THROTTLED[path], headers={"X-Forwarded-For": f"203.0.113.{number}"})
    answer = anonymous.post(path, THROTTLED[path], headers={"X-Forwarded-For": "203.0.113.9"})
    assert answer.status_code == 429


@pytest.mark.skipif(not settings.REDIS_URL, reason="no Redis")
@pytest.mark.parametrize("trouble", ["killed", "stopped in mid-air"])
def test_without_redis_it_counts_in_the_process_and_nobody_waits(anonymous, trouble, settings):
    with servers.valkey() as valkey:
        settings.CACHES = settings.CACHES | {"default": settings.CACHES["default"] | {"LOCATION": valkey.url}}
        assert anonymous.post("/api/token/verify/", {"token": "x"}).status_code == 401
        valkey.pause() if trouble == "stopped in mid-air" else valkey.kill()
        answers, waits = [], []
        for _ in range(4):
            started = time.perf_counter()
            answers.append(anonymous.post("/api/token/verify/", {"token": "x"}).status_code)
            waits.append(time.perf_counter() - started)
    assert answers == [401, 401, 401, 429]
    # A quarter of a second for Redis, and the request itself.
    assert max(waits) < 0.25 + 0.1, (waits, os.getloadavg())
