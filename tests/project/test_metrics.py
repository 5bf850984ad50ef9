"""Metrics for Prometheus: access, counts, several workers, and sampling."""

import os
import re
from pathlib import Path
from typing import Any

import httpx
import prometheus_client
import psycopg
import pytest
from django.db import connection
from prometheus_client.parser import text_string_to_metric_families

from accounts.models import SecurityEvent
from api import metrics
from project import health
from tests import databases, servers
from tests.conftest import ApiClient, Browser

SECRET = "only-for-prometheus-4f9a2c7be1d05836"
BEARER = {"Authorization": f"Bearer {SECRET}"}


def names_of(text: str) -> set[str]:
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def value_of(text: str, name: str, **labels: str) -> float:
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())


# Access


def test_metrics_are_off_by_default() -> None:
    assert Browser().get("/metrics", headers=BEARER).status_code == 404


@pytest.mark.parametrize(
    "header", ["", "Bearer ", "Bearer x", f"Basic {SECRET}", SECRET, f"Bearer {SECRET}x", "Bearer é"]
)
def test_wrong_tokens_and_unknown_addresses_are_refused(settings: Any, header: str) -> None:
    settings.METRICS_TOKEN = SECRET
    settings.METRICS_ADDRESSES = ["10.0.0.0/8"]
    answer = Browser().get("/metrics", headers={"Authorization": header, "X-Forwarded-For": "10.0.0.1"})
    assert answer.status_code == 403
    assert b"wristband" not in answer.content


def test_an_empty_bearer_token_is_refused(settings: Any) -> None:
    settings.METRICS_ADDRESSES = ["10.0.0.0/8"]
    assert Browser().get("/metrics", headers={"Authorization": "Bearer "}).status_code == 403


@pytest.mark.django_db
def test_the_token_gives_access_over_https_only(settings: Any, client: Any) -> None:
    settings.METRICS_TOKEN = SECRET
    answer = Browser().get("/metrics", headers=BEARER)
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    assert client.get("/metrics", headers=BEARER).status_code == 403


@pytest.mark.django_db
def test_a_forwarded_address_counts_from_trusted_proxies_only(settings: Any) -> None:
    settings.METRICS_ADDRESSES = ["10.0.0.0/8"]
    for proxies, status in (([], 403), (["127.0.0.1"], 200)):
        settings.TRUSTED_PROXIES = proxies
        assert Browser().get("/metrics", headers={"X-Forwarded-For": "10.1.2.3"}).status_code == status


# Counts


@pytest.mark.django_db(transaction=True)
def test_security_events_and_refreshes_are_counted(settings: Any, ann: Any, password: str) -> None:
    settings.METRICS_TOKEN = SECRET
    settings.REFRESH_GRACE = settings.REFRESH_GRACE * 0

    def read_metrics() -> str:
        return Browser().get("/metrics", headers=BEARER).content.decode()

    def events(text: str) -> dict[str, float]:
        types = ("signed_in", "sign_in_failed", "token_reused", "sign_in_ended", "signed_out")
        return {type: value_of(text, "wristband_security_events_total", type=type) for type in types}

    before = read_metrics()
    api = ApiClient()
    api.sign_in("ann", "a wrong passphrase")
    api.sign_in("ann", password)
    api.renew()
    used_up = api.refresh
    api.renew()
    ApiClient().post("/api/token/refresh/", {"refresh": used_up})
    api.sign_in("ann", password)
    ApiClient().post("/api/token/blacklist/", {"refresh": api.refresh})
    assert api.get("/api/me/").status_code == 401
    after = read_metrics()

    assert {type: events(after)[type] - times for type, times in events(before).items()} == {
        "signed_in": 2,
        "sign_in_failed": 1,
        "token_reused": 1,
        "sign_in_ended": 1,
        "signed_out": 1,
    }
    for outcome, times in (("rotated", 2), ("refused", 1)):
        name = "wristband_refreshes_total"
        assert value_of(after, name, outcome=outcome) - value_of(before, name, outcome=outcome) == times
    # The refresh token that was used twice, and the access token of the sign-in that ended.
    name = "wristband_tokens_refused_total"
    assert value_of(after, name) - value_of(before, name) == 2


@pytest.mark.django_db
def test_clock_and_mails_are_measured_without_a_balancer(
    settings: Any, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    settings.METRICS_TOKEN = SECRET
    monkeypatch.setattr(health, "sampling", health.Sampling())
    metrics.clock_ahead.set(99)
    metrics.mail_age.set(99)
    on_postgresql = connection.vendor == "postgresql"
    with django_assert_num_queries(2 if on_postgresql else 1):
        text = Browser().get("/metrics", headers=BEARER).content.decode()
    assert value_of(text, "wristband_mail_waiting_seconds") == 0
    # SQLite has the clock of its node.
    assert abs(value_of(text, "wristband_clock_ahead_seconds")) < 1 or not on_postgresql
    # Not again within some seconds.
    with django_assert_num_queries(0):
        Browser().get("/metrics", headers=BEARER)
    metrics.clock_ahead.set(0)


@pytest.mark.once
@pytest.mark.long
def test_the_counts_of_workers_are_summed_and_survive_a_restart(tmp_path: Path) -> None:
    with servers.valkey() as valkey:
        url = os.environ["DATABASE_URL"]
        database = databases.migrated(tmp_path, "metrics")
        folder = tmp_path / "metrics"
        folder.mkdir()
        env = {"DATABASE_URL": database, "REDIS_URL": valkey.url, "DEBUG": "true", "METRICS_ADDRESSES": "127.0.0.1"}
        make = (
            "from accounts.models import User; User.objects.create_user('ann', 'ann@example.org', 'violet anchor hums')"
        )
        servers.manage(env, "shell", "--verbosity=0", "--command", make)
        env["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        with servers.node(env, workers=2) as node:

            def ask(method: str, path: str, **how: Any) -> httpx.Response:
                # A new connection for each request, so that both workers get some.
                return httpx.request(method, f"{node.url}{path}", timeout=30, verify=servers.AUTHORITIES, **how)

            for _ in range(6):
                body = {"username": "ann", "password": "violet anchor hums"}
                pair = ask("POST", "/api/token/", json=body).json()
            bearer = {"Authorization": f"Bearer {pair['access']}"}
            deadline = 40
            while deadline:
                deadline -= 1
                assert ask("GET", "/api/me/", headers=bearer).status_code == 200
                text = ask("GET", "/metrics").text
                if value_of(text, "wristband_mirror_age_seconds") and value_of(text, "wristband_tokens_known_total"):
                    break
            assert value_of(text, "wristband_security_events_total", type="signed_in") == 6
            # Not the sum of both workers, and not since the epoch. A busy machine polls late.
            assert value_of(text, "wristband_mirror_age_seconds") < 15
            assert value_of(text, "wristband_token_check_seconds_count") >= 1
            if url:
                assert value_of(text, "wristband_database_connections") >= 1
            node.stop()
            node.start()
            text = ask("GET", "/metrics").text
            assert value_of(text, "wristband_security_events_total", type="signed_in") == 6
            # Those of the new processes only, which open some by themselves.
            servers.wait_until(
                lambda: value_of(ask("GET", "/metrics").text, "wristband_database_connections") == sessions_of(database)
            )


def sessions_of(database_url: str) -> int:
    """The connections to the database, as PostgreSQL counts them, without the one that asks; 0 on SQLite."""
    if database_url.startswith("sqlite"):
        return 0
    with psycopg.connect(database_url) as connection:
        counted = "SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database()"
        return int(connection.execute(counted).fetchone()[0])


def test_every_alert_of_the_readme_uses_existing_metrics() -> None:
    readme = (servers.ROOT / "project" / "MONITORING.md").read_text()
    [rules] = [block for block in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL) if "alert:" in block]
    named = set(re.findall(r"\bwristband_\w+", rules))
    known = names_of(prometheus_client.generate_latest().decode())
    assert set(re.findall(r'type="(\w+)"', rules)) <= set(SecurityEvent.Type.values)
    assert len(named) >= 6
    assert named <= known


# Sampling


def test_a_sampler_is_due_twice_a_second_by_its_own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = metrics.Sampler()
    due = []
    for seconds in (1000.0, 1000.2, 1000.49, 1000.5, 1000.7, 1003.0):
        monkeypatch.setattr(metrics.time, "monotonic", lambda seconds=seconds: seconds)
        due.append(sampler.is_due())
    # Each time the call after the one at the time: that one may pay for a poll of the same period.
    assert due == [False, True, False, False, True, False]


@pytest.mark.django_db(transaction=True)
def test_a_token_check_is_timed_when_a_sample_is_due(settings: Any, ann: Any, client_of: Any) -> None:
    settings.METRICS_TOKEN = SECRET
    client = client_of(ann)
    before = Browser().get("/metrics", headers=BEARER).content.decode()
    metrics.sampler.__init__()  # type: ignore[misc]
    for _ in range(3):
        assert client.get("/api/me/").status_code == 200
    after = Browser().get("/metrics", headers=BEARER).content.decode()
    name = "wristband_token_check_seconds_count"
    assert 1 <= value_of(after, name) - value_of(before, name) <= 2
