"""The indexes of sign-ins in the status list."""

import uuid
from collections.abc import Iterable

from django.conf import settings
from django.db import models

from accounts.compiled_queries import chunks
from accounts.models import SignIn


class StatusIndexManager(models.Manager["StatusIndex"]):
    def assign(self, sign_in: SignIn) -> bool:
        """Gives it a place in the status list; False if it has ended meanwhile. Two statements, once in its life."""
        index = self.create().pk
        if index % 1000 == 0:
            # Only the last row is of use.
            self.filter(pk__lt=index).delete()
        waiting = SignIn.objects.filter(pk=sign_in.pk, ended_at__isnull=True, status_index__isnull=True)
        # Whoever ends it later reads the place after that.
        if waiting.update(status_index=index):
            sign_in.status_index = index
        else:
            sign_in.status_index = SignIn.objects.filter(pk=sign_in.pk).values_list("status_index", flat=True).first()
        return sign_in.status_index is not None

    def latest_index(self) -> int:
        """-1 if there is none yet."""
        return self.values_list("pk", flat=True).order_by("-pk").first() or -1


class StatusIndex(models.Model):
    """Running numbers that are given once: the database does not use the id of a row twice."""

    objects = StatusIndexManager()

    class Meta:
        app_label = "blocklist"

    def __str__(self) -> str:
        return str(self.pk)


def status_indexes(sids: Iterable[uuid.UUID | None]) -> dict[uuid.UUID | None, int | None]:
    """The places of sign-ins in the status list. Their rows say by now that they ended: none is given later."""
    if not settings.JWT_STATUS_LIST:
        return {}
    indexes: dict[uuid.UUID | None, int | None] = {}
    for chunk in chunks(list(sids)):
        indexes.update(SignIn.objects.filter(pk__in=chunk).values_list("pk", "status_index"))
    return indexes
