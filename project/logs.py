"""What a line of the log says, outside DEBUG: one JSON object, with nothing in it that opens anything."""

import logging
import platform
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest
from pythonjsonlogger.json import JsonFormatter

from accounts.http import request_context
from accounts.reports import without_path


class Formatter(JsonFormatter):
    """Only what is named here: whatever else a record carries, the request among it, may hold a secret."""

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
            log_data |= {"request_id": request_context.request_id(request)} | _who(request)
        extra = {name: getattr(record, name, None) for name in ("sid", "user_id", "status_code")}
        log_data |= {name: value for name, value in extra.items() if value is not None}
        if trace := message_dict.get("exc_info"):
            log_data["exception"] = without_path(trace, request) if request else trace


class OneLine(logging.Filter):
    """A request that Django refuses is no error of ours: scanners send them all day. One line, without a traceback."""

    MAX_LENGTH = 300

    def filter(self, record: logging.LogRecord) -> bool:
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.args = record.getMessage()[: self.MAX_LENGTH], None
        record.exc_info = record.exc_text = None
        return True


def _request_of(record: logging.LogRecord) -> HttpRequest | None:
    """Django says of itself which one it speaks of, after all middleware."""
    named = getattr(record, "request", None)
    return named if isinstance(named, HttpRequest) else request_context.request()


def _who(request: HttpRequest) -> dict[str, Any]:
    """As far as it is known already: a line of the log asks nobody."""
    who = getattr(request, "auth", None) or getattr(getattr(request, "session", None), "loaded_sign_in", None)
    return {"sid": str(who.sid), "user_id": who.user_id} if who else {}
