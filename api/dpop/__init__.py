"""DPoP (RFC 9449): proof that a client holds the key its tokens are bound to."""

from api.dpop.proof import MAX_AGE_SECONDS, ProofRefused, challenge, has_proof, verify_proof

__all__ = ["MAX_AGE_SECONDS", "ProofRefused", "challenge", "has_proof", "verify_proof"]
