"""The indexes of sign-ins in the status lists."""

import uuid
from collections.abc import Iterable

from django.conf import settings
from django.db import models

from accounts.compiled_queries import chunks
from accounts.models import SignIn


class StatusIndexManager(models.Manager["StatusIndex"]):
    def assign(self, sign_in: SignIn) -> bool:
        """Assigns an index to a sign-in. Returns False if it has ended meanwhile. Two statements, once per sign-in."""
        index = self.create().pk
        if index % 1000 == 0:
            # Only the last row is needed.
            self.filter(pk__lt=index).delete()
        without_index = SignIn.objects.filter(pk=sign_in.pk, ended_at__isnull=True, status_index__isnull=True)
        # A later end of the sign-in reads the index after this.
        if without_index.update(status_index=index):
            sign_in.status_index = index
        else:
            sign_in.status_index = SignIn.objects.filter(pk=sign_in.pk).values_list("status_index", flat=True).first()
        return sign_in.status_index is not None

    def latest_index(self) -> int:
        """The last index that was assigned; -1 if there is none."""
        return self.values_list("pk", flat=True).order_by("-pk").first() or -1


class StatusIndex(models.Model):
    """Consecutive numbers, each assigned once: the database does not use the id of a row twice."""

    objects = StatusIndexManager()

    class Meta:
        app_label = "blocklist"

    def __str__(self) -> str:
        return str(self.pk)


def status_indexes(sids: Iterable[uuid.UUID | None]) -> dict[uuid.UUID | None, int | None]:
    """The indexes of sign-ins that have ended. Their rows are updated by now, so that none is assigned later."""
    if not settings.JWT_STATUS_LIST:
        return {}
    indexes: dict[uuid.UUID | None, int | None] = {}
    for chunk in chunks(list(sids)):
        indexes.update(SignIn.objects.filter(pk__in=chunk).values_list("pk", "status_index"))
    return indexes
