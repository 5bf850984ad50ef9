"""Traces by OpenTelemetry: what a real node sends to a collector, and that it is off by default."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests import databases, servers
from tests.event_receivers import Collector, stopped

pytestmark = [pytest.mark.once, pytest.mark.long]

PASSWORD = "violet anchor hums at dawn"
MAKE_ANN = f"""
from accounts.models import User
User.objects.create_user("ann", "ann@example.org", "{PASSWORD}")
"""
PARENT = "b7ad6b7169203331"


@dataclass
class Traced:
    node: servers.Node
    collector: Collector

    def spans(self, trace_id: str) -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        return [
            span
            for body in list(self.collector.bodies)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
            if span.trace_id.hex() == trace_id
        ]

    def trace_of(self, answer: httpx.Response) -> list[Any]:
        """The spans of a request, once that of the request itself, the last one, has arrived."""
        trace_id = answer.request.headers["traceparent"].split("-")[1]

        def has_arrived() -> bool:
            return any(span.parent_span_id.hex() == PARENT for span in self.spans(trace_id))

        servers.wait_until(has_arrived, seconds=20)
        return self.spans(trace_id)

    def call(
        self, method: str, path: str, headers: dict[str, str] | None = None, peer: str = "127.0.0.1", **options: Any
    ) -> httpx.Response:
        """A request with a new trace through a proxy with this address; 127.0.0.1 is trusted."""
        own = {"X-Forwarded-Proto": "https", "traceparent": f"00-{uuid4().hex}-{PARENT}-01"}
        transport = httpx.HTTPTransport(local_address=peer, verify=servers.AUTHORITIES)
        with httpx.Client(transport=transport, trust_env=False, timeout=20) as client:
            return client.request(method, f"{self.node.url}{path}", headers=own | (headers or {}), **options)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    pytest.importorskip("opentelemetry.sdk")
    env = {
        "DATABASE_URL": databases.migrated(tmp_path_factory.mktemp("traces"), "traces"),
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    servers.manage(env, "shell", "--verbosity=0", "--command", MAKE_ANN)
    with stopped(Collector()) as collector:
        traces = {"TRACES_URL": f"http://127.0.0.1:{collector.port}/v1/traces", "TRUSTED_PROXIES": "127.0.0.1"}
        with servers.node(env | traces, workers=2) as node:
            yield Traced(node, collector)


def sign_in(traced: Traced) -> httpx.Response:
    answer = traced.call("POST", "/api/token/", json={"username": "ann", "password": PASSWORD})
    assert answer.status_code == 200
    return answer


def get_me(traced: Traced, access: str, path: str = "/api/me/") -> httpx.Response:
    return traced.call("GET", path, headers={"Authorization": f"Bearer {access}"})


def ancestors(span: Any, spans: list[Any]) -> list[str]:
    found, known = [], {each.span_id: each for each in spans}
    while span := known.get(span.parent_span_id):
        found.append(span.name)
    return found


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_a_sign_in_is_seen_from_the_request_to_the_statement(traced: Traced) -> None:
    spans = traced.trace_of(sign_in(traced))
    [check] = [span for span in spans if span.name == "check password"]
    assert ancestors(check, spans) == ["view", "POST /api/token/"]
    assert {"SELECT", "INSERT", "UPDATE"} <= {span.name for span in spans}
    statement = next(span for span in spans if span.name == "INSERT")
    assert ancestors(statement, spans)[-2:] == ["view", "POST /api/token/"]
    assert "accounts_" in attributes(statement)["db.query.text"]


def test_a_call_with_a_token_shows_its_check(traced: Traced) -> None:
    spans = traced.trace_of(get_me(traced, sign_in(traced).json()["access"]))
    [check] = [span for span in spans if span.name == "check token"]
    assert ancestors(check, spans) == ["view", "GET /api/me/"]
    [root] = [span for span in spans if span.name == "GET /api/me/"]
    # And nothing else: no path, query, address or user agent.
    assert attributes(root) == {
        "http.request.method": "GET",
        "http.route": "/api/me/",
        "http.response.status_code": 200,
    }


def test_redis_commands_are_seen_without_keys(traced: Traced) -> None:
    refresh = sign_in(traced).json()["refresh"]
    spans = traced.trace_of(traced.call("POST", "/api/token/refresh/", json={"refresh": refresh}))
    commands = [attributes(span) for span in spans if attributes(span).get("db.system") == "redis"]
    assert commands
    for each in commands:
        assert re.fullmatch(r"([A-Z]+( \?)*\n?)+", each["db.statement"])


def test_no_span_has_a_secret(traced: Traced) -> None:
    tokens = sign_in(traced).json()
    reset = traced.call("GET", "/accounts/reset/MQ/c0ffee-0123456789/", headers={"Cookie": "x=cookie-secret"})
    wrong = traced.call("POST", "/api/token/", json={"username": "ann", "password": "a wrong passphrase"})
    me = get_me(traced, tokens["access"], "/api/me/?token=query-secret")
    spans = [span for answer in (reset, wrong, me) for span in traced.trace_of(answer)]
    assert {"GET /accounts/reset/<uidb64>/<token>/", "POST /api/token/", "GET /api/me/"} <= {s.name for s in spans}
    secrets = [tokens["access"], tokens["refresh"], PASSWORD, "wrong passphrase", "query-secret", "cookie-secret"]
    sent = b"".join(traced.collector.bodies)
    assert not [each for each in (*secrets, "c0ffee", "ann@example") if each.encode() in sent]


def test_all_workers_send_after_the_fork(traced: Traced) -> None:
    answers = [traced.call("GET", "/health/live") for _ in range(20)]
    assert all(traced.trace_of(answer) for answer in answers)


def test_the_trace_of_a_trusted_proxy_continues_and_no_answer_has_it(traced: Traced) -> None:
    answer = traced.call("GET", "/health/live")
    assert [span.name for span in traced.trace_of(answer)] == ["view", "GET /health/live"]
    assert not [name for name in answer.headers if "trace" in name]


def test_the_trace_of_another_client_is_ignored(traced: Traced) -> None:
    ignored = traced.call("GET", "/health/live", peer="127.0.0.2")
    for _ in range(5):
        traced.trace_of(traced.call("GET", "/health/live"))
    assert traced.spans(ignored.request.headers["traceparent"].split("-")[1]) == []


def test_a_log_line_has_the_trace_id(traced: Traced) -> None:
    answer = get_me(traced, "forged")
    assert answer.status_code == 401
    servers.wait_until(lambda: "token_not_valid" in traced.node.log)
    [line] = [line for line in traced.node.log.splitlines() if "token_not_valid" in line]
    assert json.loads(line)["trace_id"] in answer.request.headers["traceparent"]


def test_without_the_packages_the_start_names_them() -> None:
    if find_spec("opentelemetry"):
        pytest.skip("OpenTelemetry is installed")
    environment = os.environ | {"DEBUG": "true", "TRACES_URL": "http://127.0.0.1:4318/v1/traces"}
    result = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=servers.ROOT, env=environment, capture_output=True, text=True
    )
    assert "project/tracing/requirements.txt" in result.stderr


def test_off_by_default_nothing_is_imported() -> None:
    # redis-py imports the API by itself if it is installed.
    unwanted = ("project.tracing", "opentelemetry.exporter", "opentelemetry.instrumentation", "google.protobuf")
    code = f"import sys, project.wsgi; print([name for name in sys.modules if name.startswith({unwanted!r})])"
    environment = os.environ | {"DEBUG": "true", "TRACES_URL": ""}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=servers.ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
