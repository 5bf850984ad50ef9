"""Rows at the price of reading them: for what is read on every request, and on every refresh."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connection, models
from django.db.models.base import ModelState

from accounts.changed_columns import ChangedColumnsModel

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=ChangedColumnsModel)

# Values in one statement: PostgreSQL takes 65,535, SQLite 32,766 or as many as it was built for.
MAX_QUERY_VALUES = 10_000
# psycopg.pq.Format.BINARY, without asking for psycopg where there is only SQLite
BINARY = 1


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Of a long list, no longer than a statement takes."""
    for start in range(0, len(values), MAX_QUERY_VALUES):
        yield values[start : start + MAX_QUERY_VALUES]


def partial_instance(model: type[ModelT], fields: Iterable[tuple[str, Any]]) -> ModelT:
    """
    A row of which only these fields were read; the others are deferred. Built as Django unpickles a model, in a quarter
    of the time of from_db(): somebody is built for every request.
    """
    instance = model.__new__(model)
    instance._state = ModelState()
    instance._state.adding, instance._state.db = False, DEFAULT_DB_ALIAS
    instance._stored = dict(fields)
    vars(instance).update(instance._stored)
    return instance


class CompiledQuery:
    """
    A query that is compiled on first use and then kept. The ORM compiles anew each time, which takes longer than the
    database takes to answer.
    """

    def __init__(self, columns: Callable[[], models.QuerySet[Any, Any]]) -> None:
        """`columns` makes a values_list() whose filters are the parameters; it is called once the models are ready."""
        self._columns = columns
        self._sql = ""
        self._converters: dict[int, tuple[list[Any], Any]] = {}

    def first(self, *parameters: Any) -> list[Any] | None:
        """The row that these parameters find, as the database takes them. One statement."""
        if not self._sql:
            self._compile()
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                # Times and ids as eight and sixteen bytes: psycopg reads them in C, and text in Python.
                cursor.cursor.format = BINARY
            cursor.execute(self._sql, parameters)
            row = cursor.fetchone()
        return row and self._converted(list(row))

    def _compile(self) -> None:
        compiler = self._columns().query.get_compiler(DEFAULT_DB_ALIAS)
        sql, _parameters = compiler.as_sql()
        self._converters = compiler.get_converters([column for column, _sql, _alias in compiler.select])
        self._sql = sql

    def _converted(self, values: list[Any]) -> list[Any]:
        for position, (converters, column) in self._converters.items():
            for convert in converters:
                values[position] = convert(values[position], column, connection)
        return values


class CompiledUpdate:
    """An update of these fields where those have these values and others are null; kept as a CompiledQuery is."""

    def __init__(self, model: str, fields: Sequence[str], where: Sequence[str], null: Sequence[str] = ()) -> None:
        self._model, self._names, self._where, self._null = model, fields, where, null
        self._sql = ""
        self._fields: list[Any] = []

    def run(self, *parameters: object) -> int:
        """How many rows it changed; the parameters are the new values, then those that find them. One statement."""
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
        changes = ", ".join(f"{quote(name)} = %s" for name in self._names)
        conditions = [f"{quote(name)} = %s" for name in self._where] + [f"{quote(name)} IS NULL" for name in self._null]
        self._fields = [meta.get_field(name) for name in (*self._names, *self._where)]
        self._sql = f"UPDATE {quote(meta.db_table)} SET {changes} WHERE {' AND '.join(conditions)}"  # noqa: S608
