"""The model of proofs that were used: of DPoP while Redis is not available, and of DBSC."""

from accounts.models.used_once import UsedOnce


class UsedProof(UsedOnce):
    """A DPoP proof that was used and is not stored in Redis, or a challenge of DBSC that was used."""
