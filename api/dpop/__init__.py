"""DPoP (RFC 9449): proofs that a client has the private key that its tokens are bound to."""

from api.dpop.proof import MAX_AGE_SECONDS, ProofRefused, challenge, has_proof, verify_proof

__all__ = ["MAX_AGE_SECONDS", "ProofRefused", "challenge", "has_proof", "verify_proof"]
