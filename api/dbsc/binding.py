"""The rules of bound sessions: which are bound, what a browser must prove, and what is recorded when it fails."""

import json
import re
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import SecurityEvent, SignIn, User
from accounts.sessions import SessionStore
from api import proofs
from api.dbsc import challenges

TYPE = "dbsc+jwt"
# The draft also has "none", which proves nothing.
ALGORITHMS = ("ES256", "RS256")
# The reasons of Secure-Session-Skipped.
SKIP_REASONS = ("quota_exceeded", "server_error", "unreachable")
SKIPPED = re.compile(r"(?:^|,)\s*([a-z_]+)")
# At most one event and one mail for a sign-in in this time.
EVENT_PERIOD = timedelta(hours=1)
# A request that was sent before the registration has no bound cookie: it is accepted for this time after it.
REGISTRATION_GRACE = timedelta(seconds=10)
# Longer than after a proof of the user a session can still be bound: until then, no process remembers it as unbound.
UNSETTLED_FOR = challenges.LIFETIME + timedelta(seconds=30)


class ProofRefused(Exception):
    """The proof is not valid, or not of the key of the session. `cause` is a word for the event."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def is_on() -> bool:
    """Whether sessions can be bound."""
    return bool(settings.DBSC != "off")


def is_offered_to(user: User) -> bool:
    """Whether the browsers of this user are asked for a key."""
    return bool(settings.DBSC == "offered" or (settings.DBSC == "staff" and user.is_staff))


def is_unsettled(sign_in: SignIn) -> bool:
    """Whether a browser may yet bind this unbound session: its user has just proved who they are."""
    age = timezone.now() - sign_in.authenticated_at
    return not sign_in.key_thumbprint and is_offered_to(sign_in.user) and age < UNSETTLED_FOR


def live_sign_in(session: SessionStore) -> SignIn | None:
    """
    The sign-in of the session cookie; None if it has ended. During support, it is the staff member's own, which the
    browser goes on proving. At most one statement, and another during support.
    """
    sign_in = session.read_sign_in()
    if sign_in is None or sign_in.actor_sid is None:
        return sign_in
    own = SignIn.objects.select_related("user").filter(pk=sign_in.actor_sid).first()
    return own if own and own.is_live() else None


def register(sign_in: SignIn, text: str) -> None:
    """
    Binds a session to the key in the proof. Raises ProofRefused, and NotAccepted for its challenge, also if the session
    is bound: a new key needs a proof of the user first. Two statements.
    """
    raw = _raw(text)
    try:
        key = proofs.key_in(proofs.header_of(raw, TYPE), ALGORITHMS)
        challenge = proofs.claims_of(raw, key).get("jti")
    except proofs.INVALID as error:
        raise ProofRefused("invalid_proof") from error
    challenges.consume_registration(challenge, sign_in)
    if not sign_in.bind(key.thumbprint, json.dumps(key.jwk)):
        raise challenges.NotAccepted


def check_proof(sign_in: SignIn, text: str) -> None:
    """
    Checks a proof of the key that the session is bound to. Raises ProofRefused, and NotAccepted for its challenge.
    Two statements.
    """
    raw = _raw(text)
    try:
        header = proofs.header_of(raw, TYPE)
        key = proofs.key_of(json.loads(sign_in.device_key), header["alg"], ALGORITHMS)
        # Browsers may repeat the key in the header. Only the registered one counts.
        challenge = proofs.claims_of(raw, key).get("jti")
    except proofs.INVALID as error:
        raise ProofRefused("wrong_key") from error
    challenges.consume_refresh(challenge, sign_in)


def _raw(text: str) -> bytes:
    raw = text.encode(errors="replace")
    if not proofs.is_compact(raw):
        raise ProofRefused("invalid_proof")
    return raw


def skip_reason(request: HttpRequest) -> str:
    """The reason for which the browser says that it sent no proof (Secure-Session-Skipped); empty without one."""
    found = SKIPPED.findall(request.META.get("HTTP_SECURE_SESSION_SKIPPED", "")[:1000])
    return next((reason for reason in found if reason in SKIP_REASONS), "")


def record_failure(sign_in: SignIn, cause: str, skipped: str = "") -> None:
    """
    Records that a browser did not prove to be the device of this sign-in, and mails a notice, unless the browser names
    a trouble of its own or of the server. At most once in EVENT_PERIOD. One statement, or more.
    """
    type, user = SecurityEvent.Type.DEVICE_PROOF_FAILED, sign_in.user
    recent = SecurityEvent.objects.filter(
        user=user.pk, type=type, sid=sign_in.sid, created_at__gt=timezone.now() - EVENT_PERIOD
    )
    if recent.exists():
        return
    details: dict[str, Any] = {"cause": cause} | ({"skipped": skipped} if skipped else {})
    with transaction.atomic():
        SecurityEvent.objects.record(type, user, sign_in, **details)
        if not skipped:
            user.notify("device_proof_failed", client=sign_in.label)
