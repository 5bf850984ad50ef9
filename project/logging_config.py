"""The configuration of logging."""

from typing import Any


def logging_config(*, debug: bool) -> dict[str, Any]:
    """Plain lines in DEBUG, otherwise JSON without secrets (project.logs)."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"},
            "json": {"()": "project.logs.Formatter"},
        },
        "filters": {
            "paths": {"()": "project.error_reports.PathFilter"},
            "one_line": {"()": "project.logs.OneLineFilter"},
            "outages": {"()": "api.outages.OutageFilter"},
        },
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": "line" if debug else "json",
                "filters": [] if debug else ["paths"],
            }
        },
        "root": {"handlers": ["console"], "level": "WARNING"},
        "loggers": {
            "django": {"handlers": [], "level": "WARNING"},
            # A refused request is no error of the server.
            "django.request": {"level": "ERROR", "filters": ["outages"]},
            "django.security.DisallowedHost": {"filters": ["one_line"]},
            "django.security.RequestDataTooBig": {"filters": ["one_line"]},
            "django.security.TooManyFieldsSent": {"filters": ["one_line"]},
            "django.security.TooManyFilesSent": {"filters": ["one_line"]},
            # project.error_pages logs the same, without the path of the Referer.
            "django.security.csrf": {"level": "ERROR"},
            # One line for each security event.
            "accounts.events": {"level": "WARNING" if debug else "INFO"},
        },
    }
