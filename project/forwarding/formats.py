"""The formats of events for other systems: JSON lines, RFC 5424 with structured data, and OTLP log records in JSON."""

import json
import platform
import re
from datetime import UTC
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from accounts.models import SecurityEvent
from accounts.models.event_sentences import Importance, importance_of

APP_NAME = "wristband"
# "security/authorization messages" (RFC 5424, section 6.2.1).
FACILITY = 10
# The enterprise number of examples (RFC 5612): this project has none of its own.
SD_EVENT, SD_DETAILS = "event@32473", "details@32473"
MAX_VALUE_LENGTH = 1024
# By importance: the severities of syslog (RFC 5424) and of OpenTelemetry (Logs Data Model, SeverityNumber).
SEVERITIES = {
    Importance.SIGN_IN: (6, 9, "INFO"),
    Importance.SECURITY: (5, 10, "INFO2"),
    Importance.ALARM: (4, 13, "WARN"),
}
# RFC 5424, section 6: SD-NAME and PRINTUSASCII.
NOT_IN_NAME = re.compile(r"[^!#-<>-\\^-~]")
NOT_IN_HOST = re.compile(r"[^!-~]")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
ESCAPED = re.compile(r'["\\\]]')


def fields(event: SecurityEvent) -> dict[str, Any]:
    """The fields of an event that have a value. `details` has texts only, and no secret (SecurityEvent.record)."""
    values = {
        "id": event.pk,
        "time": event.created_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "type": event.type,
        "user_id": event.user_id,
        "actor_id": event.actor_id,
        "sid": str(event.sid) if event.sid else None,
        "ip_address": event.ip_address,
        "user_agent": event.user_agent,
        "details": {name: _plain(value) for name, value in event.details.items()},
    }
    return {name: value for name, value in values.items() if value not in (None, "", {})}


def json_line(event: SecurityEvent) -> bytes:
    """One line of ASCII: a JSON object."""
    return json.dumps(fields(event), separators=(",", ":")).encode("ascii") + b"\n"


def syslog_frame(event: SecurityEvent) -> bytes:
    """A message of RFC 5424 after its length in bytes (octet counting: RFC 6587, section 3.4.1)."""
    values = fields(event)
    details = values.pop("details", {})
    time, severity = values.pop("time"), _severity(event)[0]
    data = _element(SD_EVENT, values) + (_element(SD_DETAILS, details) if details else "")
    header = f"<{8 * FACILITY + severity}>1 {time} {host_name()} {APP_NAME} - {event.type}"
    message = f"{header} {data} {event.type}".encode()
    return b"%d %s" % (len(message), message)


def otlp_request(events: list[SecurityEvent]) -> bytes:
    """The body of an OTLP/HTTP export in JSON (OTLP 1.x, ExportLogsServiceRequest)."""
    resource = {"service.name": APP_NAME, "host.name": host_name()}
    scope = {"scope": {"name": "security_events"}, "logRecords": [_log_record(event) for event in events]}
    logs = {"resourceLogs": [{"resource": {"attributes": _attributes(resource)}, "scopeLogs": [scope]}]}
    return json.dumps(logs, separators=(",", ":")).encode("ascii")


def host_name() -> str:
    """The host of SITE_URL, or else the name of this node. At most 255 printable characters."""
    name = urlsplit(settings.SITE_URL).hostname or platform.node()
    return NOT_IN_HOST.sub("", name)[:255] or "-"


def _log_record(event: SecurityEvent) -> dict[str, Any]:
    values = fields(event)
    details = values.pop("details", {})
    del values["time"]
    # Microseconds, as exact as the row.
    nanoseconds = str(round(event.created_at.timestamp() * 1_000_000) * 1000)
    _syslog, number, text = _severity(event)
    return {
        "timeUnixNano": nanoseconds,
        "observedTimeUnixNano": nanoseconds,
        "severityNumber": number,
        "severityText": text,
        "eventName": event.type,
        "body": {"stringValue": event.type},
        "attributes": _attributes(
            {f"event.{name}": value for name, value in values.items()}
            | {f"event.details.{name}": value for name, value in details.items()}
        ),
    }


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"key": name, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for name, value in values.items()
    ]


def _severity(event: SecurityEvent) -> tuple[int, int, str]:
    # During an update, a node may record a type that this code does not know.
    return SEVERITIES[importance_of(event.type)]


def _element(name: str, parameters: dict[str, Any]) -> str:
    """An SD-ELEMENT of RFC 5424, section 6.3: in values, `"`, `\\` and `]` are escaped by a backslash."""
    pairs = "".join(f' {_sd_name(key)}="{_sd_value(value)}"' for key, value in parameters.items())
    return f"[{name}{pairs}]"


def _sd_name(name: str) -> str:
    return NOT_IN_NAME.sub("_", name)[:32]


def _sd_value(value: Any) -> str:
    return ESCAPED.sub(r"\\\g<0>", _plain(value))


def _plain(value: Any) -> str:
    """The value as a text of limited length, with control characters replaced by spaces."""
    text = value if isinstance(value, str) else json.dumps(value)
    return CONTROL.sub(" ", text[:MAX_VALUE_LENGTH]).encode(errors="replace").decode()
