import uuid
from datetime import datetime

from django.db import IntegrityError, models, transaction
from django.utils import timezone


class UsedProofManager(models.Manager["UsedProof"]):
    def add(self, proof: uuid.UUID, until: datetime) -> bool:
        """Whether it was not known before. One statement; what has expired is deleted now and then."""
        if proof.int % 1000 == 0:
            self.filter(until__lt=timezone.now()).delete()
        try:
            with transaction.atomic():
                self.create(pk=proof, until=until)
        except IntegrityError:
            return False
        return True


class UsedProof(models.Model):
    """A DPoP proof that was used, where Redis does not remember it. A hash, which opens nothing."""

    id = models.UUIDField(primary_key=True)
    until = models.DateTimeField(db_index=True)

    objects = UsedProofManager()

    def __str__(self) -> str:
        return str(self.pk)
