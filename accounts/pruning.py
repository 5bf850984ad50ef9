"""Rows that have served their time leave in small batches."""

import time
from collections.abc import Collection, Iterator
from typing import Any, Self, TypeVar

from django.db import models, transaction

# How long a request goes on ending or deleting in batches, in seconds.
REQUEST_SECONDS = 3.0
ModelT = TypeVar("ModelT", bound=models.Model)
BATCH = 1000


class PrunableQuerySet(models.QuerySet[ModelT]):
    def prunable(self) -> Self:
        """Those that nobody needs any more."""
        raise NotImplementedError

    def prune(self, size: int = BATCH) -> Iterator[int]:
        """
        Deletes those past keeping, a transaction to a batch; yields how many each deleted. May be left after any batch
        and begun again, and done by several at once: none waits for a row that another holds.
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
        # Past delete(), which refuses or announces it: nothing depends on these rows any more.
        self.model._base_manager.using(self.db).filter(pk__in=batch)._raw_delete(self.db)


def referred_to(model: type[models.Model], except_by: Collection[type[models.Model]] = ()) -> models.Q:
    """Rows of the model that a row of any other table refers to, in any app, many-to-many tables included."""
    referred = models.Q(pk__in=[])
    for relation in model._meta.get_fields(include_hidden=True):
        # The table of a many-to-many relation refers to the model by a foreign key of its own.
        if not isinstance(relation, models.ManyToOneRel) or relation.related_model in except_by:
            continue
        key = models.OuterRef(relation.field.target_field.name)
        rows = relation.related_model._base_manager.filter(**{relation.field.name: key})
        referred |= models.Q(models.Exists(rows))
    return referred


def in_time(batches: Iterator[int], seconds: float) -> tuple[int, bool]:
    """Does batches for so long: how much they did, and whether that is all."""
    enough = time.monotonic() + seconds
    done = 0
    for number in batches:
        done += number
        if time.monotonic() > enough:
            return done, False
    return done, True
