"""What a line of the log says, outside DEBUG: one JSON object, with nothing in it that opens anything."""

import logging
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest
from pythonjsonlogger.json import JsonFormatter

from accounts import origin


class Formatter(JsonFormatter):
    """Only what is named here: whatever else a record carries, the request among it, may hold a secret."""

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        request = _request_of(record)
        log_data |= {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _without_path(record.message, request),
        }
        if request:
            log_data |= {"request_id": origin.id_of(request)} | _who(request)
        extra = {name: getattr(record, name, None) for name in ("sid", "user_id", "status_code")}
        log_data |= {name: value for name, value in extra.items() if value is not None}
        if trace := message_dict.get("exc_info"):
            log_data["exception"] = _without_path(trace, request)


def _request_of(record: logging.LogRecord) -> HttpRequest | None:
    """Django says of itself which one it speaks of, after all middleware."""
    named = getattr(record, "request", None)
    return named if isinstance(named, HttpRequest) else origin.request()


def _without_path(text: str, request: HttpRequest | None) -> str:
    """Django names the path, and that of a link in a mail is as good as a password."""
    if request is None or request.path == "/":
        return text
    match = request.resolver_match
    return text.replace(request.path, f"/{match.route}" if match else "an unknown address")


def _who(request: HttpRequest) -> dict[str, Any]:
    """As far as it is known already: a line of the log asks nobody."""
    who = getattr(request, "auth", None) or getattr(getattr(request, "session", None), "known_sign_in", None)
    return {"sid": str(who.sid), "user_id": who.user_id} if who else {}
