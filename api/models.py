"""The model of DPoP proofs that were used, for when Redis is not available."""

from accounts.models.used_once import UsedOnce


class UsedProof(UsedOnce):
    """A DPoP proof that was used and is not stored in Redis."""
