"""What a server needs before it takes requests. Commands do without: some of them bring it about."""

import os
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from accounts import lock_files
from api.keys import keyring
from project import closing, static_files
from project.postgresql import patience


def prepare() -> None:
    """Raises ImproperlyConfigured with a line for each thing that is missing."""
    if problems := [each for each in (_hosts(), _database(), _lock_files(), static_files.problem()) if each]:
        raise ImproperlyConfigured("\n".join(problems))
    # Keys that will not do are named at the start, and not at the first request.
    keyring.load()
    closing.install()
    patience.limit = settings.DATABASE_TIMEOUT_SECONDS


def _hosts() -> str | None:
    if settings.ALLOWED_HOSTS:
        return None
    return "ALLOWED_HOSTS is not set: every request would be refused. Expected: the host names of this project."


def _database() -> str | None:
    """SQLite makes files beside its own. PostgreSQL may come later: until then requests are answered 503."""
    database = settings.DATABASES["default"]
    if database["ENGINE"] != "project.sqlite" or connection.is_in_memory_db():  # type: ignore[attr-defined]
        return None
    path = Path(database["NAME"])
    needed = [path.parent, path] if path.exists() else [path.parent]
    refused = [str(each) for each in needed if not os.access(each, os.R_OK | os.W_OK)]
    if not refused:
        return None
    return f"The database is SQLite, and this account cannot write to {refused[0]}. Mend that, or set DATABASE_URL."


def _lock_files() -> str | None:
    try:
        os.close(lock_files.open_file("start"))
    except OSError as error:
        return (
            f"No folder for lock files can be written to ({error}). Set TMPDIR to a folder that this account may use."
        )
    return None
