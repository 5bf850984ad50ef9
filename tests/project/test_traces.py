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

from tests import servers
from tests.event_receivers import Collector, stopped

pytestmark = [pytest.mark.once, pytest.mark.long]

PASSWORD = "violet anchor hums at dawn"
MAKE_ANN = f"""
from accounts.models import User
User.objects.create_user("ann", "ann@example.org", "{PASSWORD}")
"""
PARENT = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
TRACEPARENT = f"00-{PARENT[0]}-{PARENT[1]}-01"


@dataclass
class Traced:
    node: servers.Node
    collector: Collector

    def spans(self, trace_id: str = "") -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        spans = [
            span
            for body in list(self.collector.bodies)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        return [span for span in spans if not trace_id or span.trace_id.hex() == trace_id]

    def trace_of(self, name: str, at_least: int = 1) -> list[Any]:
        """The spans of the last request with this name, once they have arrived."""
        servers.wait_until(lambda: [span for span in self.spans() if span.name == name], seconds=20)
        root = [span for span in self.spans() if span.name == name][-1]
        servers.wait_until(lambda: len(self.spans(root.trace_id.hex())) >= at_least)
        return self.spans(root.trace_id.hex())

    def call(
        self, method: str, path: str, headers: dict[str, str] | None = None, peer: str = "127.0.0.1", **options: Any
    ) -> httpx.Response:
        """A request through a proxy with this address; 127.0.0.1 is trusted."""
        headers = {"X-Forwarded-Proto": "https"} | (headers or {})
        transport = httpx.HTTPTransport(local_address=peer, verify=servers.AUTHORITIES)
        with httpx.Client(transport=transport, trust_env=False) as client:
            return client.request(method, f"{self.node.url}{path}", headers=headers, **options)


@pytest.fixture(scope="module")
def traced() -> Iterator[Traced]:
    pytest.importorskip("opentelemetry.sdk")
    env = {
        "DATABASE_URL": servers.create_database(os.environ["DATABASE_URL"], f"traces_{uuid4().hex}"),
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    servers.manage(env, "migrate", "--verbosity=0")
    servers.manage(env, "shell", "--verbosity=0", "--command", MAKE_ANN)
    with stopped(Collector()) as collector:
        traces = {"TRACES_URL": f"http://127.0.0.1:{collector.port}/v1/traces", "TRUSTED_PROXIES": "127.0.0.1"}
        with servers.node(env | traces, workers=2) as node:
            yield Traced(node, collector)


@pytest.fixture
def tokens(traced: Traced) -> dict[str, str]:
    answer = traced.call("POST", "/api/token/", json={"username": "ann", "password": PASSWORD})
    assert answer.status_code == 200
    return answer.json()


def by_id(spans: list[Any]) -> dict[bytes, Any]:
    return {span.span_id: span for span in spans}


def ancestors(span: Any, spans: list[Any]) -> list[str]:
    found, known = [], by_id(spans)
    while span := known.get(span.parent_span_id):
        found.append(span.name)
    return found


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_a_sign_in_is_seen_from_the_request_to_the_statement(traced: Traced, tokens: dict[str, str]) -> None:
    spans = traced.trace_of("POST /api/token/", at_least=8)
    names = [span.name for span in spans]
    [check] = [span for span in spans if span.name == "check password"]
    assert ancestors(check, spans) == ["view", "POST /api/token/"]
    statement = next(span for span in spans if span.name == "INSERT")
    assert ancestors(statement, spans)[-2:] == ["view", "POST /api/token/"]
    assert "accounts_" in attributes(statement)["db.query.text"]
    assert {"SELECT", "UPDATE"} <= set(names)


def test_a_call_with_a_token_shows_its_check(traced: Traced, tokens: dict[str, str]) -> None:
    answer = traced.call("GET", "/api/me/", headers={"Authorization": f"Bearer {tokens['access']}"})
    assert answer.status_code == 200
    spans = traced.trace_of("GET /api/me/", at_least=3)
    [check] = [span for span in spans if span.name == "check token"]
    assert ancestors(check, spans) == ["view", "GET /api/me/"]
    [root] = [span for span in spans if span.name == "GET /api/me/"]
    assert attributes(root) == {
        "http.request.method": "GET",
        "http.route": "/api/me/",
        "http.response.status_code": 200,
    }


def test_redis_commands_are_seen_without_keys(traced: Traced, tokens: dict[str, str]) -> None:
    traced.call("POST", "/api/token/refresh/", json={"refresh": tokens["refresh"]})
    spans = traced.trace_of("POST /api/token/refresh/", at_least=6)
    commands = [attributes(span) for span in spans if attributes(span).get("db.system") == "redis"]
    assert commands
    assert all(re.fullmatch(r"[A-Z]+( \?)*", line) for each in commands for line in each["db.statement"].split("\n"))


def test_no_span_has_a_secret(traced: Traced, tokens: dict[str, str]) -> None:
    traced.call("GET", "/api/me/?token=query-secret", headers={"Authorization": f"Bearer {tokens['access']}"})
    traced.call("GET", "/accounts/reset/MQ/c0ffee-0123456789abcdef/", headers={"Cookie": "sessionid=cookie-secret"})
    traced.call("POST", "/api/token/", json={"username": "ann", "password": "a wrong passphrase"})
    traced.trace_of("GET /accounts/reset/<uidb64>/<token>/")
    traced.trace_of("GET /api/me/")
    secrets = [*tokens.values(), PASSWORD, "wrong passphrase", "query-secret", "cookie-secret", "c0ffee", "ann@example"]
    sent = b"".join(traced.collector.bodies)
    assert not [each for each in map(str, secrets) if len(each) > 4 and each.encode() in sent]
    assert b"ann" not in b"".join(
        value.encode() for span in traced.spans() for value in map(str, attributes(span).values())
    ).replace(b"channel", b"")


def test_each_worker_sends_after_the_fork(traced: Traced) -> None:
    for _ in range(20):
        traced.call("GET", "/health/live")
    traced.trace_of("GET /health/live")
    count = len([span for span in traced.spans() if span.name == "GET /health/live"])
    servers.wait_until(lambda: len([s for s in traced.spans() if s.name == "GET /health/live"]) >= max(20, count))


def test_the_trace_of_a_trusted_proxy_continues(traced: Traced) -> None:
    answer = traced.call("GET", "/health/live", headers={"traceparent": TRACEPARENT})
    servers.wait_until(lambda: traced.spans(PARENT[0]))
    [root] = [span for span in traced.spans(PARENT[0]) if span.name == "GET /health/live"]
    assert root.parent_span_id.hex() == PARENT[1]
    # The response has no id of the trace.
    assert not [name for name in answer.headers if "trace" in name]


def test_the_trace_of_another_client_is_ignored(traced: Traced) -> None:
    before = len(traced.spans(PARENT[0]))
    traced.call("GET", "/health/live", headers={"traceparent": TRACEPARENT}, peer="127.0.0.2")
    traced.call("GET", "/.well-known/jwks.json")
    traced.trace_of("GET /.well-known/jwks.json")
    assert len(traced.spans(PARENT[0])) == before


def test_a_log_line_has_the_trace_id(traced: Traced) -> None:
    trace_id = uuid4().hex
    answer = traced.call(
        "GET", "/api/me/", headers={"traceparent": f"00-{trace_id}-{PARENT[1]}-01", "Authorization": "Bearer forged"}
    )
    assert answer.status_code == 401
    servers.wait_until(lambda: "token_not_valid" in traced.node.log)
    [line] = [line for line in traced.node.log.splitlines() if "token_not_valid" in line]
    assert json.loads(line)["trace_id"] == trace_id


def test_without_the_packages_the_start_names_them() -> None:
    if find_spec("opentelemetry"):
        pytest.skip("OpenTelemetry is installed")
    environment = os.environ | {"DEBUG": "true", "TRACES_URL": "http://127.0.0.1:4318/v1/traces"}
    result = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=servers.ROOT, env=environment, capture_output=True, text=True
    )
    assert "project/tracing/requirements.txt" in result.stderr


def test_off_by_default_nothing_is_imported() -> None:
    code = (
        "import sys, project.wsgi; print([name for name in sys.modules if name.startswith(('opentelemetry', 'wrapt'))])"
    )
    environment = os.environ | {"DEBUG": "true", "TRACES_URL": ""}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=servers.ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
