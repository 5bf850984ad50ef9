"""Error reports and log filters that leave out secrets."""

import logging
from collections.abc import Iterable
from types import FrameType
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter


class PathFilter(logging.Filter):
    """Removes the path of the request from Django's log messages about refused and failed requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = getattr(record, "request", None)
        if isinstance(request, HttpRequest):
            record.msg, record.args = without_path(record.getMessage(), request), None
        return True


def without_path(text: str, request: HttpRequest) -> str:
    """Replaces the path by the route: the path of a link in a mail is as secret as a password."""
    if request.path == "/":
        return text
    match = request.resolver_match
    return text.replace(request.path, f"/{match.route}" if match else "an unknown address")


class ErrorReport(ExceptionReporter):
    """
    Contains nothing of the request outside DEBUG: passwords and tokens are in forms, JSON, headers, cookies and paths,
    and no list of what to remove would be complete.
    """

    def __init__(self, request: HttpRequest | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request if settings.DEBUG else None, *args, **kwargs)


class ErrorReportFilter(SafeExceptionReporterFilter):
    """Leaves out the values of variables, and the settings, whose URLs contain passwords."""

    def get_traceback_frame_variables(self, request: HttpRequest, tb_frame: FrameType) -> Iterable[tuple[str, Any]]:
        return super().get_traceback_frame_variables(request, tb_frame) if settings.DEBUG else []

    def get_safe_settings(self) -> dict[str, Any]:
        return super().get_safe_settings() if settings.DEBUG else {}
