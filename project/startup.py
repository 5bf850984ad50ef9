"""Checks and preparations before a server accepts requests. Commands skip them: some of them fix what is missing."""

import os
from importlib import import_module
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from accounts import lock_files
from api.keys import keyring
from project import closing, static_files
from project.postgresql import statement_deadline


def prepare() -> None:
    """Raises ImproperlyConfigured with one line for each problem."""
    if problems := [each for each in (_hosts(), _database(), _lock_files(), static_files.problem()) if each]:
        raise ImproperlyConfigured("\n".join(problems))
    # Reports invalid keys now, not at the first request, which would also import the views.
    keyring.load()
    import_module(settings.ROOT_URLCONF)
    if settings.TRACES_URL:
        import_module("project.tracing.spans").start()
    closing.install()
    statement_deadline.seconds = settings.DATABASE_TIMEOUT_SECONDS


def _hosts() -> str | None:
    if settings.ALLOWED_HOSTS:
        return None
    return "ALLOWED_HOSTS is not set: every request would be refused. Set it to the host names of this project."


def _database() -> str | None:
    """SQLite creates files beside the database. PostgreSQL may start later: until then requests get 503."""
    database = settings.DATABASES["default"]
    if database["ENGINE"] != "project.sqlite" or connection.is_in_memory_db():  # type: ignore[attr-defined]
        return None
    path = Path(database["NAME"])
    needed = [path.parent, path] if path.exists() else [path.parent]
    refused = [str(each) for each in needed if not os.access(each, os.R_OK | os.W_OK)]
    if not refused:
        return None
    return (
        f"The database is SQLite, and this account cannot write to {refused[0]}. Make it writable, or set DATABASE_URL."
    )


def _lock_files() -> str | None:
    try:
        os.close(lock_files.open_file("start"))
    except OSError as error:
        return (
            f"No folder for lock files is writable ({error}). Set TMPDIR to a folder in which this account can write."
        )
    return None
