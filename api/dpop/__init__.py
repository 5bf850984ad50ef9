"""DPoP (RFC 9449): proof that a client holds the key its tokens are bound to."""

from api.dpop.proof import MAX_AGE, ProofRefused, challenge, is_offered, proven_key

__all__ = ["MAX_AGE", "ProofRefused", "challenge", "is_offered", "proven_key"]
