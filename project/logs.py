"""Log lines outside DEBUG: one JSON object each, without secrets."""

import logging
import platform
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest
from pythonjsonlogger.json import JsonFormatter

from accounts import refusals
from accounts.http import request_context
from project.error_reports import without_path

# Of log records. The last five: accounts.refusals.
EXTRA_FIELDS = ("sid", "user_id", "status_code", "code", "method", "route", "ip_address", "reason")


class Formatter(JsonFormatter):
    """Logs only the fields listed here: other attributes of a record, such as the request, may contain a secret."""

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        request = _request_of(record)
        log_data |= {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "node": platform.node(),
            "logger": record.name,
            "message": without_path(record.message, request) if request else record.message,
        }
        if request:
            log_data |= {"request_id": request_context.request_id(request)} | _user_of(request)
            if trace_id := getattr(request, "trace_id", None):
                log_data["trace_id"] = trace_id
        extra = {name: getattr(record, name, None) for name in EXTRA_FIELDS}
        log_data |= {name: value for name, value in extra.items() if value is not None}
        if trace := message_dict.get("exc_info"):
            log_data["exception"] = without_path(trace, request) if request else trace


class OneLineFilter(logging.Filter):
    """Logs a request that Django refuses as one line of level WARNING, within the limits of accounts.refusals."""

    MAX_LENGTH = 300

    def filter(self, record: logging.LogRecord) -> bool:
        request = _request_of(record)
        if request and not refusals.admits(request, "bad_request"):
            return False
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.args = record.getMessage()[: self.MAX_LENGTH], None
        record.exc_info = record.exc_text = None
        return True


def _request_of(record: logging.LogRecord) -> HttpRequest | None:
    """The request of Django's own log records, which come after all middleware; otherwise the current one."""
    named = getattr(record, "request", None)
    return named if isinstance(named, HttpRequest) else request_context.request()


def _user_of(request: HttpRequest) -> dict[str, Any]:
    """Only what is known already: to log a line needs no query."""
    authenticated = getattr(request, "auth", None) or getattr(getattr(request, "session", None), "loaded_sign_in", None)
    if not authenticated:
        return {}
    support = getattr(authenticated, "support", None) or authenticated
    # The staff member who is signed in as the user.
    actor = {"actor_id": support.actor_id} if getattr(support, "actor_sid", None) else {}
    return {"sid": str(authenticated.sid), "user_id": authenticated.user_id} | actor
