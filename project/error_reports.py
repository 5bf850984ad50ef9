"""What logs and error reports tell: where something went wrong, and nothing that opens anything."""

import logging
from collections.abc import Iterable
from types import FrameType
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter


class PathFilter(logging.Filter):
    """For whatever handler: Django names the path of what it refuses, and of what fails."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = getattr(record, "request", None)
        if isinstance(request, HttpRequest):
            record.msg, record.args = without_path(record.getMessage(), request), None
        return True


def without_path(text: str, request: HttpRequest) -> str:
    """With the route in its place: the path of a link in a mail is as good as a password."""
    if request.path == "/":
        return text
    match = request.resolver_match
    return text.replace(request.path, f"/{match.route}" if match else "an unknown address")


class ErrorReport(ExceptionReporter):
    """
    Knows nothing of the request outside DEBUG: passwords and tokens come in forms, JSON, headers, cookies and paths,
    and a list of those to leave out would always lack one.
    """

    def __init__(self, request: HttpRequest | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request if settings.DEBUG else None, *args, **kwargs)


class ErrorReportFilter(SafeExceptionReporterFilter):
    """Nor of the values of variables, nor of settings, whose URLs have passwords in them."""

    def get_traceback_frame_variables(self, request: HttpRequest, tb_frame: FrameType) -> Iterable[tuple[str, Any]]:
        return super().get_traceback_frame_variables(request, tb_frame) if settings.DEBUG else []

    def get_safe_settings(self) -> dict[str, Any]:
        return super().get_safe_settings() if settings.DEBUG else {}
