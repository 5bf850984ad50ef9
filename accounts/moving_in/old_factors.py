"""Second factors of the site before, as allauth.mfa stores them: authenticator apps and passkeys."""

import base64
import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.http import int_to_base36, urlsafe_base64_decode

from accounts.factors import passkeys, totp
from accounts.models import AuthenticatorApp, Factor, Passkey, User
from accounts.models.factors import NAME_MAX_LENGTH
from accounts.moving_in import old_users
from accounts.moving_in.sources import Row

# RFC 4226, section 4, requires 128 bits.
MIN_SECRET_BYTES = 16


def factor_of(row: Row, user: User) -> Factor | None:
    """
    Returns the unsaved factor of a row of mfa_authenticator; None for recovery codes, which are replaced by new ones,
    and for a row that cannot be read, such as one that an own adapter of that site has encrypted.
    """
    try:
        data = json.loads(row["data"]) if isinstance(row["data"], str) else row["data"]
        if row["type"] == "totp":
            return _app(row, data, user)
        if row["type"] == "webauthn":
            return _passkey(row, data, user)
    except Exception:
        # The libraries raise errors of many types for input that they do not know.
        return None
    return None


def by_owner(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Returns the rows of factors by the old id of their user."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(old_users.id_text(row["user_id"]), []).append(row)
    return found


def _app(row: Row, data: dict[str, Any], user: User) -> AuthenticatorApp:
    created_at = old_users.moment(row.get("created_at")) or timezone.now()
    app = AuthenticatorApp(user=user, created_at=created_at, confirmed_at=created_at, last_used_at=_last_used(row))
    text = str(data["secret"]).upper().rstrip("=")
    secret = base64.b32decode(text + "=" * (-len(text) % 8))
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError("too short")
    totp.set_secret(app, secret)
    return app


def _passkey(row: Row, data: dict[str, Any], user: User) -> Passkey:
    # Takes 0.4 s (accounts.factors.passkeys).
    from webauthn.helpers import parse_attestation_object

    response = data["credential"]["response"]
    attested = parse_attestation_object(urlsafe_base64_decode(response["attestationObject"])).auth_data
    if attested.attested_credential_data is None or not attested.attested_credential_data.credential_public_key:
        raise ValueError("no key")
    transports = response.get("transports") or []
    return Passkey(
        user=user,
        name=str(data.get("name") or "")[:NAME_MAX_LENGTH],
        created_at=old_users.moment(row.get("created_at")) or timezone.now(),
        last_used_at=_last_used(row),
        credential_id=attested.attested_credential_data.credential_id,
        public_key=attested.attested_credential_data.credential_public_key,
        user_handle=_user_handle(row["user_id"]),
        sign_count=attested.sign_count,
        aaguid=UUID(bytes=attested.attested_credential_data.aaguid),
        transports=" ".join(each for each in passkeys.TRANSPORTS if each in transports),
        is_backup_eligible=attested.flags.be,
        is_backed_up=attested.flags.bs,
    )


def _user_handle(user_id: Any) -> bytes:
    """As allauth makes it (user_pk_to_url_str): the id in base 36, or the UUID in hexadecimal."""
    text = old_users.id_text(user_id)
    if text.isdigit():
        return int_to_base36(int(text)).encode()
    return text.replace("-", "").encode() if len(text) == 36 else text.encode()


def _last_used(row: Row) -> Any:
    return old_users.moment(row.get("last_used_at"))
