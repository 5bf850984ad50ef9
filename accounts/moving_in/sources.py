"""
Sources of users: the database of the site before, a JSON dump (manage.py dumpdata), or a CSV file. Each returns rows as
the tables of Django, allauth and SimpleJWT have them: dictionaries by column.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend

ALIAS = "moving_in"
USER_TABLE = "auth_user"
Row = dict[str, Any]
# dumpdata's names of the models whose rows are read, and their tables. The user's model is an option.
TABLES = {
    "auth.group": "auth_group",
    "auth.permission": "auth_permission",
    "contenttypes.contenttype": "django_content_type",
    "account.emailaddress": "account_emailaddress",
    "mfa.authenticator": "mfa_authenticator",
    "sessions.session": "django_session",
    "token_blacklist.outstandingtoken": "token_blacklist_outstandingtoken",
    "token_blacklist.blacklistedtoken": "token_blacklist_blacklistedtoken",
}
# Apps of django-otp, its plug-ins and django-two-factor-auth, whose devices are second factors.
OTP_APPS = ("otp_", "two_factor")
# Fields of a dump that are foreign keys: their columns have the suffix.
FOREIGN_KEYS = ("user", "token", "content_type")


class Source:
    """The rows of the site before. A table that it does not have is empty."""

    def count_users(self) -> int:
        raise NotImplementedError

    def users(self) -> Iterator[Row]:
        """Yields the users by their id, so that memory does not limit their number."""
        raise NotImplementedError

    def rows(self, table: str) -> Iterable[Row]:
        """Returns the rows of a table of TABLES, or of otp_tables()."""
        raise NotImplementedError

    def otp_tables(self) -> list[str]:
        """Returns the tables of OTP_APPS."""
        raise NotImplementedError

    def links(self, to: str) -> Iterable[tuple[Any, Any]]:
        """Returns pairs of the ids of a user and of a group ("group") or permission ("permission")."""
        raise NotImplementedError

    def group_permissions(self) -> Iterable[tuple[Any, Any]]:
        """Returns pairs of the ids of a group and of a permission, if they are not in the rows of the groups."""
        return [(row["group_id"], row["permission_id"]) for row in self.rows("auth_group_permissions")]


class DatabaseSource(Source):
    """Another database, or other tables of our own, by URL. Only SELECT statements are sent."""

    def __init__(self, url: str, user_table: str) -> None:
        self.user_table = user_table
        self.connection = _connection(url)
        try:
            with self.connection.cursor() as cursor:
                self.tables = set(self.connection.introspection.table_names(cursor))
        except Exception as error:
            # Without its text, which may contain the URL with the password.
            raise CommandError(f"The database cannot be read: {type(error).__name__}.") from None
        if user_table not in self.tables:
            raise CommandError(f"The database has no table {user_table!r}. Name that of the users with --table.")

    def count_users(self) -> int:
        return int(self._select(f"SELECT count(*) AS number FROM {self._quote(self.user_table)}")[0]["number"])  # noqa: S608

    def users(self) -> Iterator[Row]:
        table = self._quote(self.user_table)
        with self.connection.chunked_cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table} ORDER BY id")  # noqa: S608
            names = None
            while rows := cursor.fetchmany(500):
                names = names or [column[0] for column in cursor.description]
                yield from (dict(zip(names, row, strict=True)) for row in rows)

    def rows(self, table: str) -> Iterable[Row]:
        return self._select(f"SELECT * FROM {self._quote(table)}") if table in self.tables else []  # noqa: S608

    def otp_tables(self) -> list[str]:
        return sorted(table for table in self.tables if table.startswith(OTP_APPS))

    def links(self, to: str) -> Iterable[tuple[Any, Any]]:
        suffix = {"group": "groups", "permission": "user_permissions"}[to]
        rows = list(self.rows(f"{self.user_table}_{suffix}"))
        # The other column has the name of the user's model.
        return [(next(row[name] for name in row if name not in ("id", f"{to}_id")), row[f"{to}_id"]) for row in rows]

    def _select(self, sql: str) -> list[Row]:
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(sql)
                names = [column[0] for column in cursor.description]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        except DatabaseError as error:
            raise CommandError(f"The database cannot be read: {type(error).__name__}.") from None

    def _quote(self, name: str) -> str:
        return str(self.connection.ops.quote_name(name))


def _connection(url: str) -> BaseDatabaseWrapper:
    """
    Returns a connection of its own, which no code of the project uses. Raises CommandError for a URL that is not valid,
    without its text, which may contain a password.
    """
    try:
        options: dict[str, Any] = environ.Env.db_url_config(url)
    except Exception:
        raise CommandError("The URL of the database is not valid.") from None
    if "sqlite" in options.get("ENGINE", "") and not Path(options["NAME"]).is_file():
        raise CommandError(f"There is no database file {options['NAME']}.")
    try:
        backend = load_backend(options["ENGINE"])
    except (KeyError, ImproperlyConfigured):
        raise CommandError("The URL of the database is not valid: expected postgres://… or sqlite:///….") from None
    configured = connections.configure_settings({DEFAULT_DB_ALIAS: {}, ALIAS: options})[ALIAS]
    return backend.DatabaseWrapper(configured, ALIAS)


class DumpSource(Source):
    """The output of `manage.py dumpdata`, as JSON."""

    def __init__(self, path: Path, user_model: str) -> None:
        try:
            objects = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CommandError(f"{path} cannot be read as JSON: {type(error).__name__}.") from None
        self.by_table: dict[str, list[Row]] = {}
        for each in objects if isinstance(objects, list) else []:
            if table := _table_of(each["model"], user_model):
                self.by_table.setdefault(table, []).append(_row_of(each))
        users = self.by_table.get(USER_TABLE, [])
        if not users:
            raise CommandError(f"{path} has no {user_model}. Name the model of the users with --model.")
        if any(user["id"] is None for user in users):
            raise CommandError(f"{path} has no ids of users: call dumpdata without --natural-primary.")

    def count_users(self) -> int:
        return len(self.by_table[USER_TABLE])

    def users(self) -> Iterator[Row]:
        yield from self.by_table[USER_TABLE]

    def rows(self, table: str) -> Iterable[Row]:
        return self.by_table.get(table, [])

    def otp_tables(self) -> list[str]:
        return sorted(table for table in self.by_table if table.startswith(OTP_APPS))

    def links(self, to: str) -> Iterable[tuple[Any, Any]]:
        field = {"group": "groups", "permission": "user_permissions"}[to]
        for user in self.users():
            for each in user.get(field) or []:
                yield user["id"], tuple(each) if isinstance(each, list) else each


def _table_of(model: str, user_model: str) -> str | None:
    """The table of a model of a dump; None for one that is not read."""
    if model == user_model.lower():
        return USER_TABLE
    return model.replace(".", "_") if model.startswith(OTP_APPS) else TABLES.get(model)


def _row_of(dumped: Row) -> Row:
    fields = dumped["fields"]
    named = {f"{name}_id" if name in FOREIGN_KEYS else name: value for name, value in fields.items()}
    # The primary key of a session is its key.
    return {"id": dumped.get("pk"), "session_key": dumped.get("pk"), **named}


class CsvSource(Source):
    """A CSV file of users, with the names of columns in its first line. It has nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                names = csv.DictReader(file).fieldnames or []
        except (OSError, ValueError) as error:
            raise CommandError(f"{path} cannot be read as CSV: {type(error).__name__}.") from None
        if missing := {"id", "password"} - set(names):
            raise CommandError(f"{path} has no column {' and no column '.join(sorted(missing))}.")

    def count_users(self) -> int:
        return sum(1 for _ in self.users())

    def users(self) -> Iterator[Row]:
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file)

    def rows(self, table: str) -> Iterable[Row]:
        return []

    def otp_tables(self) -> list[str]:
        return []

    def links(self, to: str) -> Iterable[tuple[Any, Any]]:
        return []


def open_source(source: str, table: str, model: str) -> Source:
    """Returns the source of a URL, or of a file that ends with .json or .csv. Raises CommandError."""
    if "://" in source:
        return DatabaseSource(source, table)
    path = Path(source)
    if path.suffix not in (".json", ".csv"):
        raise CommandError("Expected the URL of a database, or a file that ends with .json or .csv.")
    return CsvSource(path) if path.suffix == ".csv" else DumpSource(path, model)
