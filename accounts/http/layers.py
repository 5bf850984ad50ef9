"""
Base classes of middleware, for synchronous handlers only. Django's MiddlewareMixin also supports asynchronous ones, and
looks up each method for each request, which takes longer than what most middleware of this project does.
"""

from typing import Any

from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin


class Layer(MiddlewareMixin):
    """A middleware whose only methods are those that Django calls by itself: process_view(), process_exception() …"""

    async_capable = False

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request)


class RequestLayer(Layer):
    """A middleware with process_request()."""

    def __call__(self, request: HttpRequest) -> Any:
        return self.process_request(request) or self.get_response(request)  # type: ignore[attr-defined]


class ResponseLayer(Layer):
    """A middleware with process_response()."""

    def __call__(self, request: HttpRequest) -> Any:
        return self.process_response(request, self.get_response(request))  # type: ignore[attr-defined]


class TwoWayLayer(Layer):
    """A middleware with both. process_response() gets the response of process_request(), too."""

    def __call__(self, request: HttpRequest) -> Any:
        response = self.process_request(request) or self.get_response(request)  # type: ignore[attr-defined]
        return self.process_response(request, response)  # type: ignore[attr-defined]
