"""Challenges: what a browser signs. Each is signed by the server for one sign-in, short-lived, and accepted once."""

import hashlib
import secrets
from datetime import timedelta
from uuid import UUID

from django.core.signing import BadSignature, TimestampSigner
from django.utils import timezone

from accounts.models import SignIn
from api.models import UsedProof

# Of a challenge to register, and of one to refresh.
LIFETIME = timedelta(minutes=1)
# Longer than any is valid, on nodes whose clocks differ.
KEPT_FOR = 5 * LIFETIME
MAX_CHALLENGE_LENGTH = 200


class NotAccepted(Exception):
    """The challenge is not of this sign-in, is too old, or was used before."""


def to_register(sign_in: SignIn) -> str:
    """A challenge for the key of a sign-in; invalid after the user's next proof of who they are. No statement."""
    return _new(_registration(sign_in))


def to_refresh(sign_in: SignIn) -> str:
    """A challenge for the key that the sign-in is bound to. No statement."""
    return _new(_refresh(sign_in))


def consume_registration(challenge: object, sign_in: SignIn) -> None:
    """Raises NotAccepted. One statement."""
    _consume(challenge, _registration(sign_in))


def consume_refresh(challenge: object, sign_in: SignIn) -> None:
    """Raises NotAccepted. One statement."""
    _consume(challenge, _refresh(sign_in))


def _registration(sign_in: SignIn) -> TimestampSigner:
    return TimestampSigner(salt=f"api.dbsc register {sign_in.sid} {sign_in.authenticated_at.timestamp()}")


def _refresh(sign_in: SignIn) -> TimestampSigner:
    return TimestampSigner(salt=f"api.dbsc refresh {sign_in.sid} {sign_in.key_thumbprint}")


def _new(signer: TimestampSigner) -> str:
    return signer.sign(secrets.token_urlsafe(16))


def _consume(challenge: object, signer: TimestampSigner) -> None:
    if not isinstance(challenge, str) or len(challenge) > MAX_CHALLENGE_LENGTH or not challenge.isascii():
        raise NotAccepted
    try:
        signer.unsign(challenge, max_age=LIFETIME)
    except BadSignature:
        raise NotAccepted from None
    used = UUID(bytes=hashlib.sha256(challenge.encode()).digest()[:16])
    if not UsedProof.objects.add(used, timezone.now() + KEPT_FOR):
        raise NotAccepted
