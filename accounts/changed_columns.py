"""A model whose save() writes only the columns that its caller changed."""

from collections.abc import Collection, Iterable
from copy import deepcopy
from typing import Any, Self, TypeVar

from django.db import DatabaseError, models

from accounts import django_versions

# Values of these types are copied, since the caller may change them in place.
MUTABLE_TYPES = (list, dict, set, bytearray)


class ChangedColumnsModel(models.Model):
    """
    A stale instance does not overwrite newer values: save() updates only the columns that differ from the row as it was
    read, and raises DoesNotExist if the row was deleted. Django's save() writes all columns, and inserts a deleted row.
    """

    # The values that this instance last read or wrote, by attname. The dictionary is replaced, never mutated.
    _stored: dict[str, Any] = {}

    class Meta:
        abstract = True

    def save(self, **options: Any) -> None:
        """Inserts a new row, or updates the columns that changed. Raises DoesNotExist if the row was deleted."""
        columns = self.columns_to_update(**options)
        if columns is None:
            super().save(**options | {"force_insert": options.get("force_insert") or True})
            self.mark_stored()
            return
        try:
            super().save(**options | {"force_update": False, "update_fields": columns})
        except DatabaseError as error:
            if not django_versions.is_of_no_row(error):
                raise
            raise self.DoesNotExist(f"This {self._meta.verbose_name} was deleted.") from error
        self.mark_stored(columns)

    save.alters_data = True  # type: ignore[attr-defined]

    @classmethod
    def from_db(
        cls, db: str | None, field_names: Collection[str], values: Collection[Any], *, fetch_mode: Any = None
    ) -> Self:
        """
        FETCH_PEERS of Django 6.1 has no effect. It sets the deferred fields of other instances as code does, so that
        save() would write them, although they may have changed meanwhile.
        """
        options = {} if fetch_mode is None or fetch_mode.track_peers else {"fetch_mode": fetch_mode}
        instance = super().from_db(db, field_names, values, **options)
        instance.mark_stored()
        return instance

    def refresh_from_db(self, using: str | None = None, fields: Iterable[str] | None = None, **options: Any) -> None:
        names = None if fields is None else list(fields)
        super().refresh_from_db(using, names, **options)
        self.mark_stored(names)

    def mark_stored(self, names: Collection[str] | None = None) -> None:
        """Records that the row has the instance's values of these fields; without `names`, of all loaded fields."""
        stored = {} if names is None else self._stored
        present = vars(self)
        written = [
            field.attname
            for field in self._meta.concrete_fields
            if names is None or field.name in names or field.attname in names
        ]
        # A new dictionary: a copy of the instance shares the old one.
        self._stored = stored | {name: _frozen(present[name]) for name in written if name in present}

    def changed_columns(self) -> list[str]:
        """Returns the attnames of the columns that were set since the row was read; all columns of a new instance."""
        present, stored = vars(self), {} if self._is_new() else self._stored
        names = [field.attname for field in self._meta.concrete_fields if not field.primary_key]
        return [name for name in names if name in present and (name not in stored or stored[name] != present[name])]

    def columns_to_update(
        self, force_update: bool = False, update_fields: Iterable[str] | None = None, **options: Any
    ) -> list[str] | None:
        """Returns the columns that save() with these arguments updates, or None if it inserts a row."""
        if update_fields is not None:
            return list(update_fields)
        if options.get("force_insert") or (self._is_new() and not force_update):
            return None
        changed = self.changed_columns()
        auto_now = [field.attname for field in self._meta.concrete_fields if getattr(field, "auto_now", False)]
        return list({*changed, *auto_now}) if changed else []

    def _is_new(self) -> bool:
        """Returns whether save() inserts a row: for an instance never saved, or a copy with another primary key."""
        stored_pk = self._stored.get(self._meta.pk.attname, self.pk)
        return self._state.adding or self.pk is None or self.pk != stored_pk


def _frozen(value: Any) -> Any:
    return deepcopy(value) if isinstance(value, MUTABLE_TYPES) else value


ModelT = TypeVar("ModelT", bound=ChangedColumnsModel)


class ChangedColumnsQuerySet(models.QuerySet[ModelT]):
    """A query set of ChangedColumnsModel: bulk_create() and bulk_update() record in the instances what they wrote."""

    def bulk_create(self, objs: Iterable[ModelT], *args: Any, **kwargs: Any) -> list[ModelT]:
        created = super().bulk_create(objs, *args, **kwargs)
        for instance in created:
            instance.mark_stored()
        return created

    def bulk_update(self, objs: Iterable[ModelT], fields: Iterable[str], *args: Any, **kwargs: Any) -> int:
        instances, names = list(objs), list(fields)
        updated = super().bulk_update(instances, names, *args, **kwargs)
        for instance in instances:
            instance.mark_stored(names)
        return updated

    bulk_update.alters_data = True  # type: ignore[attr-defined]
