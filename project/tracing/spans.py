"""
What is traced beside requests: the checks of tokens, sessions and passwords, SQL statements, and Redis commands. No
span has a parameter of a statement, a key or value of Redis, the text of an exception, or a URL.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, ParentBased, Sampler, SamplingResult

from accounts.backends import PasswordBackend
from api.authentication import TokenAuthentication
from api.blocklist.sessions import SessionStore

# Also how long a process waits at its end, if the collector does not answer.
EXPORT_TIMEOUT_SECONDS = 3
MAX_STATEMENT_LENGTH = 2000
CHECKS: Sequence[tuple[type, str, str]] = (
    (TokenAuthentication, "authenticate", "check token"),
    (SessionStore, "_find_sign_in", "check session"),
    (PasswordBackend, "authenticate", "check password"),
)

tracer = trace.get_tracer("wristband")


class RequestsOnly(Sampler):
    """Starts a trace for each request, and none for what happens outside of requests."""

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, kind: Any = None, *args: Any, **kwargs: Any
    ) -> SamplingResult:
        if kind == trace.SpanKind.SERVER:
            return ALWAYS_ON.should_sample(parent_context, trace_id, name, kind, *args, **kwargs)
        return SamplingResult(Decision.DROP)

    def get_description(self) -> str:
        return "RequestsOnly"


def start() -> None:
    """
    Starts to send traces to TRACES_URL, from a thread of this process and of each process that it forks. The parent of
    a request decides whether it is sampled, if a trusted proxy has sent one.
    """
    resource = Resource.create({SERVICE_NAME: "wristband"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, sampler=ParentBased(RequestsOnly()))
    exporter = OTLPSpanExporter(settings.TRACES_URL, timeout=EXPORT_TIMEOUT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    for owner, name, span_name in CHECKS:
        setattr(owner, name, _traced(getattr(owner, name), span_name))
    RedisInstrumentor().instrument(tracer_provider=provider)
    connection_created.connect(_trace_statements, dispatch_uid="traces")
    for connection in connections.all(initialized_only=True):
        _trace_statements(connection)


def span(name: str, **options: Any) -> AbstractContextManager[trace.Span]:
    """A span around a block. The text of an exception, which may contain input, is not recorded."""
    return tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False, **options)


def _traced(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @wraps(function)
    def traced(*args: Any, **kwargs: Any) -> Any:
        with span(name):
            return function(*args, **kwargs)

    return traced


def _trace_statements(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if _trace_statement not in connection.execute_wrappers:
        connection.execute_wrappers.append(_trace_statement)


def _trace_statement(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
    """The statement has placeholders: its parameters are not recorded."""
    text = str(sql)[:MAX_STATEMENT_LENGTH]
    attributes = {"db.system.name": context["connection"].vendor, "db.query.text": text}
    with span(text.partition(" ")[0], kind=trace.SpanKind.CLIENT, attributes=attributes):
        return execute(sql, params, many, context)
