"""Deletion of expired rows in batches, and batches within a time limit."""

import time
from collections.abc import Collection, Iterator
from typing import Any, Self, TypeVar

from django.db import models, transaction

# How long a request ends or deletes rows in batches.
REQUEST_SECONDS = 3.0
ModelT = TypeVar("ModelT", bound=models.Model)
BATCH_SIZE = 1000


class PrunableQuerySet(models.QuerySet[ModelT]):
    """A query set whose expired rows can be deleted."""

    def prunable(self) -> Self:
        """Returns the rows whose retention time is over."""
        raise NotImplementedError

    def prune(self, size: int = BATCH_SIZE) -> Iterator[int]:
        """
        Deletes the prunable rows, one batch in each transaction. Yields how many rows each batch deleted. It may stop
        after any batch and run in several processes: locked rows are skipped.
        """
        rows = self.prunable().select_for_update(skip_locked=True, of=("self",))
        while True:
            with transaction.atomic(using=self.db):
                batch = list(rows.values_list("pk", flat=True)[:size])
                self._delete_for_good(batch)
            if not batch:
                return
            yield len(batch)

    prune.alters_data = True  # type: ignore[attr-defined]

    def _delete_for_good(self, batch: list[Any]) -> None:
        # Bypasses delete(), which some models refuse or announce.
        self.model._base_manager.using(self.db).filter(pk__in=batch)._raw_delete(self.db)


def referred_to(model: type[models.Model], except_by: Collection[type[models.Model] | None] = ()) -> models.Q:
    """Returns a condition: a row of another table, in any app, many-to-many tables included, refers to the row."""
    referred = models.Q(pk__in=[])
    for relation in model._meta.get_fields(include_hidden=True):
        # The table of a many-to-many relation refers to the model by a foreign key of its own.
        if not isinstance(relation, models.ManyToOneRel) or relation.related_model in except_by:
            continue
        key = models.OuterRef(relation.field.target_field.name)
        rows = relation.related_model._base_manager.filter(**{relation.field.name: key})
        referred |= models.Q(models.Exists(rows))
    return referred


def run_batches(batches: Iterator[int], seconds: float) -> tuple[int, bool]:
    """Runs batches until `seconds` have passed. Returns the sum of their results, and whether all batches have run."""
    deadline = time.monotonic() + seconds
    total = 0
    for number in batches:
        total += number
        if time.monotonic() > deadline:
            return total, False
    return total, True
