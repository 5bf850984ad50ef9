"""What differs between Django 5.2 and Django 6: names of tasks and errors, the settings and backends of mail."""

from typing import TYPE_CHECKING, Any

import django
from django.conf import settings
from django.core import exceptions, mail
from django.db import DatabaseError

# Since Django 6.0 its own; for a type checker, those of 5.2. No other module imports either.
if TYPE_CHECKING or django.VERSION < (6, 0):
    from django_tasks import TaskContext as TaskContext
    from django_tasks import TaskResultStatus as TaskResultStatus
    from django_tasks import task as task
else:
    from django.tasks import TaskContext as TaskContext
    from django.tasks import TaskResultStatus as TaskResultStatus
    from django.tasks import task as task

# Since Django 6.0, save() raises it if no row was updated. Before, that was DatabaseError itself.
NO_ROW = getattr(exceptions, "ObjectNotUpdated", ())
# Since Django 6.1, EMAIL_* are deprecated, and not allowed beside MAILERS.
HAS_MAILERS = django.VERSION >= (6, 1)
# The name of the mailer that Django uses if code names none.
MAILER = "default"
SMTP_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
FILE_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
# The setting of each option of MAILERS. A backend refuses options that it does not have.
SETTINGS_OF_OPTIONS = {
    SMTP_BACKEND: {
        "host": "EMAIL_HOST",
        "port": "EMAIL_PORT",
        "username": "EMAIL_HOST_USER",
        "password": "EMAIL_HOST_PASSWORD",
        "use_tls": "EMAIL_USE_TLS",
        "use_ssl": "EMAIL_USE_SSL",
        "timeout": "EMAIL_TIMEOUT",
    },
    FILE_BACKEND: {"file_path": "EMAIL_FILE_PATH"},
}


def is_of_no_row(error: DatabaseError) -> bool:
    """Returns whether save() raised the error because it updated no row. Errors of the database are subclasses."""
    return type(error) is DatabaseError or isinstance(error, NO_ROW)


def mail_settings(server: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
    """Returns settings that begin with EMAIL_ in the form of this version of Django: since 6.1, MAILERS."""
    values = server | {"EMAIL_TIMEOUT": timeout_seconds}
    if not HAS_MAILERS:
        return values
    backend = values["EMAIL_BACKEND"]
    names = SETTINGS_OF_OPTIONS.get(backend, {})
    options = {option: values[name] for option, name in names.items() if name in values}
    return {"MAILERS": {MAILER: {"BACKEND": backend, "OPTIONS": options}}}


def mail_connection(smtp_backend: type[Any]) -> Any:
    """Returns a connection to the mail server of the settings, of `smtp_backend` in place of Django's SMTP backend."""
    if not HAS_MAILERS:
        return smtp_backend() if settings.EMAIL_BACKEND == SMTP_BACKEND else mail.get_connection()
    configured = mail.mailers.settings[MAILER]
    if configured.get("BACKEND", SMTP_BACKEND) == SMTP_BACKEND:
        return smtp_backend(alias=MAILER, **configured.get("OPTIONS", {}))
    return mail.mailers[MAILER]
