"""The model of DPoP proofs that were used, for when Redis is not available."""

import uuid
from datetime import datetime

from django.db import IntegrityError, models, transaction
from django.utils import timezone


class UsedProofManager(models.Manager["UsedProof"]):
    def add(self, proof: uuid.UUID, until: datetime) -> bool:
        """Returns whether the proof is new. One statement; one in 1,000 calls also deletes expired rows."""
        if proof.int % 1000 == 0:
            self.filter(until__lt=timezone.now()).delete()
        try:
            with transaction.atomic():
                self.create(pk=proof, until=until)
        except IntegrityError:
            return False
        return True


class UsedProof(models.Model):
    """A DPoP proof that was used and is not stored in Redis. The id is a hash; it cannot be used as a proof."""

    id = models.UUIDField(primary_key=True)
    until = models.DateTimeField(db_index=True)

    objects = UsedProofManager()

    def __str__(self) -> str:
        return str(self.pk)
