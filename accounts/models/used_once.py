"""The base of models that record what was used, so that it is valid once, on every node."""

import uuid
from datetime import datetime
from typing import Any, ClassVar

from django.db import IntegrityError, models, transaction
from django.utils import timezone


class UsedOnceManager(models.Manager[Any]):
    def add(self, pk: uuid.UUID, until: datetime) -> bool:
        """Returns whether the id is new. One statement; one in 1,000 calls also deletes expired rows."""
        if pk.int % 1000 == 0:
            self.filter(until__lt=timezone.now()).delete()
        try:
            with transaction.atomic():
                self.create(pk=pk, until=until)
        except IntegrityError:
            return False
        return True


class UsedOnce(models.Model):
    """The id is a hash of what was used; it cannot be used in its place. The row is needed until `until`."""

    id = models.UUIDField(primary_key=True)
    until = models.DateTimeField(db_index=True)

    objects: ClassVar[UsedOnceManager] = UsedOnceManager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return str(self.pk)
