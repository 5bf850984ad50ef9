"""
Passkeys (WebAuthn): options for the browser, and the verification of its answers by py_webauthn. That library is
imported where it is needed: it takes 0.4 s and 15 MB. Sections are those of WebAuthn Level 3.
"""

import json
import secrets
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode
from django.utils.translation import gettext_lazy as _

from accounts.factors.errors import FactorRefused, SecondStepFailed, UnknownPasskey
from accounts.http import request_context
from accounts.models import Passkey, SecurityEvent, User

MAX_PASSKEYS = 20
USER_HANDLE_BYTES = 32
TIMEOUT_MILLISECONDS = 300_000
MAX_CREDENTIAL_ID_BYTES = 1023
TRANSPORTS = ("ble", "cable", "hybrid", "internal", "nfc", "smart-card", "usb")
# EdDSA, ES256, RS256 (RFC 9053): the algorithms that py_webauthn verifies by default.
ALGORITHMS = (-8, -7, -257)
Json = dict[str, Any]


# Options


def request_options(challenge: bytes, user: User | None = None) -> Json:
    """
    Returns the options of navigator.credentials.get(), as JSON (section 5.5): for the passkeys of a user after the
    password; without a user for any passkey, which then must verify the user. At most one statement.
    """
    allowed = [] if user is None else list(Passkey.objects.of(user).enabled())
    return {
        "challenge": _encoded(challenge),
        "timeout": TIMEOUT_MILLISECONDS,
        "rpId": rp_id(),
        "allowCredentials": [_descriptor(each) for each in allowed],
        "userVerification": "required" if user is None else "preferred",
    }


def creation_options(challenge: bytes, user: User, user_handle: bytes) -> Json:
    """Returns the options of navigator.credentials.create(), as JSON (section 5.4). One statement."""
    return {
        "rp": {"id": rp_id(), "name": settings.SITE_NAME},
        "user": {"id": _encoded(user_handle), "name": user.get_username(), "displayName": user.get_username()},
        "challenge": _encoded(challenge),
        "pubKeyCredParams": [{"type": "public-key", "alg": algorithm} for algorithm in ALGORITHMS],
        "timeout": TIMEOUT_MILLISECONDS,
        "excludeCredentials": [_descriptor(each) for each in Passkey.objects.of(user)],
        "authenticatorSelection": {
            "residentKey": "required",
            "requireResidentKey": True,
            "userVerification": "required",
        },
        "attestation": "none",
    }


def user_handle_of(user: User) -> bytes:
    """Returns the random user handle of the user's passkeys; a new one if there is none yet. One statement."""
    stored = Passkey.objects.of(user).values_list("user_handle", flat=True).first()
    return secrets.token_bytes(USER_HANDLE_BYTES) if stored is None else bytes(stored)


def accepted_credentials(user: User) -> Json:
    """Returns the argument of PublicKeyCredential.signalAllAcceptedCredentials(). One statement."""
    passkeys = list(Passkey.objects.of(user))
    return {
        "rpId": rp_id(),
        "userId": _encoded(bytes(passkeys[0].user_handle)) if passkeys else "",
        "allAcceptedCredentialIds": [_encoded(bytes(each.credential_id)) for each in passkeys],
    }


def rp_id() -> str:
    """Returns the relying party id: the host name of this site."""
    return urlsplit(request_context.site()).hostname or ""


# Verification


def verify_new(credential: Json, challenge: bytes, *, is_conditional: bool = False) -> Passkey:
    """
    Returns an unsaved passkey, without user and handle, from the answer to creation_options(). A conditional create
    (section 5.1.3), which follows a password sign-in, needs neither presence nor verification of the user. Raises
    FactorRefused.
    """
    from webauthn import verify_registration_response

    try:
        verified = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=rp_id(),
            expected_origin=[request_context.site()],
            require_user_presence=not is_conditional,
            require_user_verification=not is_conditional,
        )
        _check_not_cross_origin(credential)
        transports = credential["response"].get("transports")
        return Passkey(
            credential_id=verified.credential_id,
            public_key=verified.credential_public_key,
            sign_count=verified.sign_count,
            aaguid=UUID(verified.aaguid),
            transports=" ".join(each for each in TRANSPORTS if isinstance(transports, list) and each in transports),
            is_backup_eligible=verified.credential_device_type.value == "multi_device",
            is_backed_up=verified.credential_backed_up,
        )
    except Exception as error:
        # The library raises errors of many types for malformed input, which a client chooses.
        raise FactorRefused(_("The passkey could not be verified."), "passkey_refused") from error


def verify(credential: Json, challenge: bytes, user: User | None = None) -> Passkey:
    """
    Returns the passkey that signed the challenge, with its user, and records its use. `user` is the one whose password
    was proved before; without one, the passkey must verify the user and name its owner. Raises UnknownPasskey and
    SecondStepFailed. Two statements.
    """
    passkey = _find(credential)
    if user is not None and passkey.user_id != user.pk:
        raise SecondStepFailed
    from webauthn import verify_authentication_response

    try:
        verified = verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=rp_id(),
            expected_origin=[request_context.site()],
            credential_public_key=bytes(passkey.public_key),
            # It would refuse synced passkeys, whose counter may stay equal: _record_use() compares the counter.
            credential_current_sign_count=0,
            require_user_verification=user is None,
        )
        _check_not_cross_origin(credential)
        _check_owner(credential, passkey, is_required=user is None)
    except Exception as error:
        # As in verify_new().
        raise SecondStepFailed from error
    _record_use(passkey, verified.new_sign_count, verified.credential_backed_up)
    return passkey


def _find(credential: Json) -> Passkey:
    """Raises UnknownPasskey. One statement."""
    try:
        credential_id = urlsafe_base64_decode(credential["id"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise SecondStepFailed from error
    passkey: Passkey | None = (
        Passkey.objects.enabled().filter(credential_id=credential_id).select_related("user").first()
        if len(credential_id) <= MAX_CREDENTIAL_ID_BYTES
        else None
    )
    if passkey is None:
        raise UnknownPasskey
    return passkey


def _check_not_cross_origin(credential: Json) -> None:
    """Raises ValueError for an answer from a frame of another origin (section 7.2, step 10), which we never use."""
    data = json.loads(_decoded(credential["response"]["clientDataJSON"]))
    if data.get("crossOrigin", False) is not False or "topOrigin" in data:
        raise ValueError("cross-origin")


def _check_owner(credential: Json, passkey: Passkey, is_required: bool) -> None:
    """Raises ValueError if the user handle is not that of the passkey's owner (section 7.2, step 6)."""
    handle = credential["response"].get("userHandle")
    if handle is None and not is_required:
        return
    if not constant_time_compare(_decoded(handle), bytes(passkey.user_handle)):
        raise ValueError("another user handle")


def _record_use(passkey: Passkey, sign_count: int, is_backed_up: bool) -> None:
    """
    Records the use. A counter of a passkey that cannot be synced, and did not increase, may show a copy (section
    6.1.1): the user is signed in, and gets a notice.
    """
    is_old = (sign_count > 0 or passkey.sign_count > 0) and sign_count <= passkey.sign_count
    Passkey.objects.filter(pk=passkey.pk).update(
        sign_count=max(sign_count, passkey.sign_count), is_backed_up=is_backed_up, last_used_at=timezone.now()
    )
    if is_old and not passkey.is_backup_eligible:
        with transaction.atomic():
            SecurityEvent.objects.record(SecurityEvent.Type.PASSKEY_COUNTER, passkey.user, factor=str(passkey.pk))
            passkey.user.notify("passkey_counter")


def _descriptor(passkey: Passkey) -> Json:
    descriptor: Json = {"type": "public-key", "id": _encoded(bytes(passkey.credential_id))}
    return descriptor | ({"transports": passkey.transports.split()} if passkey.transports else {})


def _encoded(data: bytes) -> str:
    return urlsafe_base64_encode(data)


def _decoded(text: str) -> bytes:
    return urlsafe_base64_decode(text)
