"""What logs and error reports tell: where something went wrong, and nothing that opens anything."""

import logging
from collections.abc import Iterable
from types import FrameType
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import Resolver404, ResolverMatch, resolve
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter


class WithoutLinkTokens(logging.Filter):
    """Django logs the path of what it refuses: of a link from a mail, that is the secret itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        token = _link_token(getattr(record, "request", None))
        if token:
            record.msg, record.args = record.getMessage().replace(token, "…"), None
        return True


def _link_token(request: object) -> str | None:
    if not isinstance(request, HttpRequest):
        return None
    try:
        match: ResolverMatch = request.resolver_match or resolve(request.path_info)
    except Resolver404:
        return None
    return match.kwargs.get("token")


class Report(ExceptionReporter):
    """
    Knows nothing of the request outside DEBUG: passwords and tokens come in forms, JSON, headers, cookies and paths,
    and a list of those to leave out would always lack one.
    """

    def __init__(self, request: HttpRequest | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request if settings.DEBUG else None, *args, **kwargs)


class ReportFilter(SafeExceptionReporterFilter):
    """Nor of the values of variables, nor of settings, whose URLs have passwords in them."""

    def get_traceback_frame_variables(self, request: HttpRequest, tb_frame: FrameType) -> Iterable[tuple[str, Any]]:
        return super().get_traceback_frame_variables(request, tb_frame) if settings.DEBUG else []

    def get_safe_settings(self) -> dict[str, Any]:
        return super().get_safe_settings() if settings.DEBUG else {}
