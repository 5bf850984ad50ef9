"""Queries and updates that are compiled once, for each request and each refresh; instances of partly read rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connection, models
from django.db.models.base import ModelState

from accounts.changed_columns import ChangedColumnsModel

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=ChangedColumnsModel)

# Parameters of one statement. PostgreSQL accepts 65,535, SQLite 32,766 or a limit set at build time.
MAX_QUERY_VALUES = 10_000
# psycopg.pq.Format.BINARY, without an import of psycopg, which is not installed for SQLite alone.
BINARY_FORMAT = 1


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yields parts of a list, each short enough for the parameters of one statement."""
    for start in range(0, len(values), MAX_QUERY_VALUES):
        yield values[start : start + MAX_QUERY_VALUES]


def partial_instance(model: type[ModelT], fields: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> ModelT:
    """
    Returns an instance with these fields; the others are deferred. It is built as Django unpickles a model, in a
    quarter of the time of Model.from_db(), since each request builds a user.
    """
    instance = model.__new__(model)
    instance._state = ModelState()
    instance._state.adding, instance._state.db = False, DEFAULT_DB_ALIAS
    instance._stored = dict(fields)
    vars(instance).update(instance._stored)
    return instance


class CompiledQuery:
    """
    A query of the ORM that is compiled on first use and then reused. The ORM compiles a query each time, which takes
    longer than the database takes to execute it.
    """

    def __init__(self, make_query: Callable[[], models.QuerySet[Any, Any]]) -> None:
        """
        `make_query` returns a values_list() whose filter values are the parameters, in this order. It is called on
        first use, when the models are loaded.
        """
        self._make_query = make_query
        self._sql = ""
        self._is_binary = False
        self._converters: dict[int, tuple[list[Any], Any]] = {}

    def first(self, *parameters: Any) -> list[Any] | None:
        """
        Returns the values of the first row, or None, for these parameters, which are passed to the database as they
        are. One statement.
        """
        if not self._sql:
            self._compile()
        with connection.cursor() as cursor:
            if self._is_binary:
                cursor.cursor.format = BINARY_FORMAT
            cursor.execute(self._sql, parameters)
            row = cursor.fetchone()
        return row and self._converted(list(row))

    def _compile(self) -> None:
        compiler = self._make_query().query.get_compiler(DEFAULT_DB_ALIAS)
        sql, _parameters = compiler.as_sql()
        columns = [column for column, _sql, _alias in compiler.select]
        self._converters = compiler.get_converters(columns)
        # psycopg parses binary times and UUIDs in C, but text in Python. A binary inet is not read as text.
        has_inet = any(isinstance(column.output_field, models.GenericIPAddressField) for column in columns)
        self._is_binary = connection.vendor == "postgresql" and not has_inet
        self._sql = sql

    def _converted(self, values: list[Any]) -> list[Any]:
        for position, (converters, column) in self._converters.items():
            for convert in converters:
                values[position] = convert(values[position], column, connection)
        return values


class CompiledUpdate:
    """
    An UPDATE that is compiled on first use and then reused, as a CompiledQuery: it sets `fields` in the rows whose
    fields `where` have given values and whose fields `null` are null. The model is named by its label.
    """

    def __init__(self, model: str, fields: Sequence[str], where: Sequence[str], null: Sequence[str] = ()) -> None:
        self._model, self._names, self._where, self._null = model, fields, where, null
        self._sql = ""
        self._fields: list[Any] = []

    def run(self, *parameters: object) -> int:
        """
        Updates the rows, and returns how many. The parameters are the new values of `fields`, then the values of
        `where`. One statement.
        """
        if not self._sql:
            self._compile()
        prepared = [
            field.get_db_prep_save(parameter, connection)
            for field, parameter in zip(self._fields, parameters, strict=True)
        ]
        with connection.cursor() as cursor:
            cursor.execute(self._sql, prepared)
            return cursor.rowcount

    def _compile(self) -> None:
        meta, quote = apps.get_model(self._model)._meta, connection.ops.quote_name
        changed, given, null = (
            [meta.get_field(name) for name in names] for names in (self._names, self._where, self._null)
        )
        changes = ", ".join(f"{quote(field.column)} = %s" for field in changed)
        conditions = [f"{quote(field.column)} = %s" for field in given]
        conditions += [f"{quote(field.column)} IS NULL" for field in null]
        self._fields = [*changed, *given]
        self._sql = f"UPDATE {quote(meta.db_table)} SET {changes} WHERE {' AND '.join(conditions)}"  # noqa: S608
