"""Middleware that traces requests, and views in them: the time between both is that of the other middleware."""

from typing import Any

from django.http import HttpRequest
from opentelemetry.trace import SpanKind, Status, StatusCode, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from accounts.http.layers import Layer
from project.tracing.spans import span

# Semantic conventions of HTTP spans: another method is "_OTHER".
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
FIRST_SERVER_ERROR = 500

_propagator = TraceContextTextMapPropagator()


class RequestMiddleware(Layer):
    """
    A span for the request, with its method, route and status, and nothing else of it: links of mails are secrets. Comes
    after TrustedProxyMiddleware, which removes the traceparent of untrusted clients.
    """

    def __call__(self, request: HttpRequest) -> Any:
        method = request.method if request.method in METHODS else "_OTHER"
        with span(method, context=_propagator.extract(_trace_headers(request)), kind=SpanKind.SERVER) as current:
            # For the log.
            request.trace_id = format_trace_id(current.get_span_context().trace_id)  # type: ignore[attr-defined]
            response: Any = self.get_response(request)
            route = f"/{request.resolver_match.route}" if request.resolver_match else None
            current.update_name(f"{method} {route}" if route else method)
            current.set_attribute("http.request.method", method)
            current.set_attribute("http.response.status_code", response.status_code)
            if route:
                current.set_attribute("http.route", route)
            if response.status_code >= FIRST_SERVER_ERROR:
                current.set_status(Status(StatusCode.ERROR))
        return response


class ViewMiddleware(Layer):
    """A span for the view and its template. The last middleware."""

    def __call__(self, request: HttpRequest) -> Any:
        with span("view"):
            return self.get_response(request)


def _trace_headers(request: HttpRequest) -> dict[str, str]:
    """The headers of W3C Trace Context."""
    names = {"traceparent": "HTTP_TRACEPARENT", "tracestate": "HTTP_TRACESTATE"}
    return {name: request.META[key] for name, key in names.items() if key in request.META}
