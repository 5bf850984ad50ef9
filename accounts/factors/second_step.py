"""
The second step of a sign-in. Until it is done there is no sign-in, session user or token, only a signed step: valid
once, for five minutes, and bound to a purpose, the user, the password, the kind of sign-in, the audience and the
client's key. The functions that end with the user set User.proved, which starting.start() reads.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

from accounts import guess_limits
from accounts.factors import passkeys, recovery_codes, totp
from accounts.factors.errors import SecondStepFailed, StepNotValid, UnknownPasskey
from accounts.models import (
    AttemptCounter,
    AuthenticatorApp,
    Method,
    RecoveryCodeSet,
    Restore,
    SecurityEvent,
    SignInRefused,
    UsedStep,
    User,
)

MAX_AGE = timedelta(minutes=5)
MAX_STEP_LENGTH = 2048
SALT = "accounts.second_step"
# After this many wrong codes in a row, each after the right password, the user gets a mail.
CODES_BEFORE_NOTICE = 5


class Purpose(StrEnum):
    """What a step is for. No step is valid for another purpose."""

    SIGN_IN = "sign_in"
    PASSKEY_SIGN_IN = "passkey_sign_in"
    # Of a user who must have a second factor and has none: it adds one, and then signs in.
    ENROL = "enrol"
    ADD_PASSKEY = "add_passkey"
    REAUTHENTICATE = "reauthenticate"


class Step(NamedTuple):
    """A step that was read: its signature, age and bindings are verified. `challenge` is random, and its identity."""

    challenge: bytes
    user: User | None
    proved: tuple[str, ...]
    audience: str
    extra: dict[str, Any]

    def consume(self) -> None:
        """Records that the step was used, so that it is valid once, on every node. Raises StepNotValid."""
        if not UsedStep.objects.add(_id_of(self.challenge), timezone.now() + MAX_AGE):
            raise StepNotValid


def begin(
    purpose: Purpose,
    user: User | None = None,
    *,
    kind: str = "",
    audience: str = "",
    key_thumbprint: str = "",
    sid: UUID | None = None,
    **extra: Any,
) -> tuple[str, bytes]:
    """
    Returns a signed step and its challenge, for a passkey. `sid` is the sign-in that continues with it, if there is
    one. `extra` is carried along: it is signed, but the client can read it. No statement.
    """
    challenge = secrets.token_bytes(32)
    content = {
        "challenge": urlsafe_base64_encode(challenge),
        "bound": _bound(purpose, kind, key_thumbprint, sid),
        "user": user.pk if user else None,
        "password": _fingerprint(user) if user else "",
        "proved": list(user.proved) if user else [],
        "continues": bool(user and user.is_continuing),
        "audience": audience,
        "extra": extra,
    }
    return signing.dumps(content, salt=SALT), challenge


def read(
    token: str,
    purpose: Purpose,
    *,
    kind: str = "",
    key_thumbprint: str = "",
    sid: UUID | None = None,
    user: User | None = None,
) -> Step:
    """
    Returns the step of a token. Raises StepNotValid if it is used or expired, of another purpose, kind, key or sign-in,
    or if the user was deactivated, or has another password or ended all sign-ins since. At most two statements.
    """
    try:
        content = signing.loads(token[: MAX_STEP_LENGTH + 1], salt=SALT, max_age=MAX_AGE)
    except (signing.BadSignature, ValueError) as error:
        raise StepNotValid from error
    challenge = urlsafe_base64_decode(content["challenge"])
    if content["bound"] != _bound(purpose, kind, key_thumbprint, sid):
        raise StepNotValid
    if user is not None and content["user"] != user.pk:
        raise StepNotValid
    if _may_be_used(challenge, issued_at=signing.b62_decode(token.split(":")[-2])):
        raise StepNotValid
    owner = _owner(content)
    return Step(challenge, owner, tuple(content["proved"]), content["audience"], content["extra"])


def options(purpose: Purpose, user: User | None = None, **bindings: Any) -> dict[str, Any]:
    """Returns `step`, and the options of a passkey as `publicKey`. At most one statement."""
    step, challenge = begin(purpose, user, **bindings)
    return {"step": step, "publicKey": passkeys.request_options(challenge, user)}


# Proofs


def finish_with_code(step: Step, method: str, code: str) -> User:
    """
    Returns the user with both proofs, and consumes the step, for a right code of an app (Method.TOTP) or a right
    recovery code. Raises SecondStepFailed, StepNotValid, TooManyAttempts and HashingOverloaded.
    """
    user = _require_user(step)
    check_code(user, method, code, is_after_password=True)
    return _finish(step, user, method)


def finish_with_passkey(step: Step, credential: dict[str, Any]) -> User:
    """As finish_with_code(), with a passkey of the user. Raises SecondStepFailed and StepNotValid."""
    user = _require_user(step)
    check_passkey(user, step, credential)
    return _finish(step, user, Method.PASSKEY)


def sign_in_with_passkey(step: Step, credential: dict[str, Any]) -> User:
    """
    Returns the user of a passkey that verified its user, and consumes the step. Raises UnknownPasskey,
    SecondStepFailed, StepNotValid, and SignInRefused for an account that is not active.
    """
    user: User = passkeys.verify(credential, step.challenge).user
    if not user.is_active or user.is_service:
        raise SignInRefused
    return _finish(step, user, Method.PASSKEY)


def finish_enrolment(step: Step, user: User, method: str) -> User:
    """
    Returns the user of an ENROL step, and consumes it, after accounts.factors.changes has added a factor of `method`
    with this instance. Raises StepNotValid.
    """
    if step.user is None or step.user.pk != user.pk:
        raise StepNotValid
    return _finish(step, user, method)


def add_code(user: User, method: str, code: str) -> User:
    """Returns a user whose password was just verified, with the proof of a code in the same call. As check_code()."""
    check_code(user, method, code, is_after_password=True)
    user.proved = (*user.proved, method)
    return user


def check_code(user: User, method: str, code: str, *, is_after_password: bool) -> None:
    """
    Verifies a code, which is then used up, and counts a wrong one. Raises SecondStepFailed, TooManyAttempts and
    HashingOverloaded. Four statements for a right code of an app. Without `is_after_password` it
    confirms a user who is signed in: one more, for the event.
    """
    attempt = AttemptCounter.objects.start_attempt(guess_limits.sources_of_codes(user, method))
    with attempt.hashing_slot(known=f"user {user.pk}"):
        is_right = _use(user, method, code)
    if is_right:
        attempt.succeeded()
        if not is_after_password:
            SecurityEvent.objects.record_reauthentication(user, method)
        return
    attempt.failed(user)
    _count_failure(user, method)
    if is_after_password and attempt.counters[0].count == CODES_BEFORE_NOTICE:
        user.notify("password_known")
    raise SecondStepFailed


def check_passkey(user: User, step: Step, credential: dict[str, Any]) -> None:
    """Verifies a passkey of this user. Raises SecondStepFailed; a passkey of another account is not named."""
    try:
        passkeys.verify(credential, step.challenge, user)
    except (SecondStepFailed, UnknownPasskey) as error:
        SecurityEvent.objects.record(SecurityEvent.Type.SECOND_STEP_FAILED, user, method=Method.PASSKEY.value)
        raise SecondStepFailed from error


def reauthenticate_with_passkey(user: User, sid: UUID | None, token: str, credential: dict[str, Any]) -> None:
    """
    Verifies a passkey of a user who is signed in with the sign-in `sid`, and consumes the REAUTHENTICATE step. Raises
    StepNotValid and SecondStepFailed.
    """
    step = read(token, Purpose.REAUTHENTICATE, sid=sid, user=user)
    check_passkey(user, step, credential)
    step.consume()
    SecurityEvent.objects.record_reauthentication(user, Method.PASSKEY)


def _use(user: User, method: str, code: str) -> bool:
    if method == Method.TOTP:
        return totp.use(user, code) is not None
    return recovery_codes.use(user, code)


def _count_failure(user: User, method: str) -> None:
    SecurityEvent.objects.record(SecurityEvent.Type.SECOND_STEP_FAILED, user, method=str(method))
    rows = (
        AuthenticatorApp.objects.of(user).filter(confirmed_at__isnull=False)
        if method == Method.TOTP
        else RecoveryCodeSet.objects.of(user)
    )
    with transaction.atomic():
        for factor in rows.count_failure():
            SecurityEvent.objects.record(
                SecurityEvent.Type.FACTOR_DISABLED, user, factor=str(factor.pk), factor_kind=factor.KIND
            )
            user.notify("factor_disabled")


def _finish(step: Step, user: User, method: str) -> User:
    step.consume()
    user.proved = (*step.proved, str(method))
    return user


def _may_be_used(challenge: bytes, issued_at: int) -> bool:
    """
    Returns whether the step was used, or issued before the database was restored: then the record of its use may be
    lost. `issued_at` is in seconds since 1970. One statement.
    """
    used = UsedStep.objects.filter(pk=_id_of(challenge)).values_list("until")
    restored = Restore.objects.since(datetime.fromtimestamp(issued_at, UTC)).values_list("restored_at")
    return used.union(restored, all=True).exists()


def _require_user(step: Step) -> User:
    if step.user is None:
        raise StepNotValid
    return step.user


# Content


def _owner(content: dict[str, Any]) -> User | None:
    """The user of a step, read from the database. Raises StepNotValid. One statement."""
    if content["user"] is None:
        return None
    user: User | None = User.objects.filter(pk=content["user"], is_active=True).first()
    if user is None or not any(constant_time_compare(content["password"], each) for each in _fingerprints(user)):
        raise StepNotValid
    # Absent from a step of the previous release.
    user.is_continuing = content.get("continues", False)
    return user


def _fingerprint(user: User, secret: str | None = None) -> str:
    text = f"{user.pk}\0{user.password}\0{user.generation}"
    return salted_hmac(f"{SALT}.password", text, secret=secret, algorithm="sha256").hexdigest()


def _fingerprints(user: User) -> Sequence[str]:
    return [_fingerprint(user, secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]


def _bound(purpose: Purpose, kind: str, key_thumbprint: str, sid: UUID | None) -> str:
    return " ".join([purpose, kind or "-", key_thumbprint or "-", str(sid) if sid else "-"])


def _id_of(challenge: bytes) -> UUID:
    return UUID(bytes=hashlib.sha256(challenge).digest()[:16])
