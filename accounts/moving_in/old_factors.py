"""
Second factors of the site before: authenticator apps and passkeys of allauth.mfa, and authenticator apps of django-otp.
What cannot be read is lost, and named: the user's sign-ins of before would go on without it.
"""

import base64
import json
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.http import int_to_base36, urlsafe_base64_decode

from accounts.compiled_queries import chunks
from accounts.factors import passkeys, totp
from accounts.models import AuthenticatorApp, Factor, MovedInUser, Passkey, User
from accounts.models.factors import NAME_MAX_LENGTH
from accounts.moving_in import old_users
from accounts.moving_in.sources import Row, Source

ALLAUTH_TABLE = "mfa_authenticator"
OTP_APP_TABLE = "otp_totp_totpdevice"
# Recovery codes do not come along: users make new ones.
RECOVERY_CODES = "recovery_codes"
OTP_RECOVERY_CODES_TABLE = "otp_static_staticdevice"
# RFC 4226, section 4, requires 128 bits.
MIN_SECRET_BYTES = 16

Reader = Callable[[Row, User], Factor]


class OldFactors:
    """
    The second factors of all users there. `lost` has the old ids of the users with one that does not come along, and
    `recovery_codes` those of the users with recovery codes.
    """

    def __init__(self, source: Source) -> None:
        self.lost: set[str] = set()
        self.recovery_codes: set[str] = set()
        # By the old id of the user, and by the id of the credential, or of the row.
        self._factors: dict[str, dict[Any, Callable[[User], Factor]]] = {}
        self._owners_of_passkeys: dict[bytes, str] = {}
        for row in source.rows(ALLAUTH_TABLE):
            self._add(row, row.get("type"), {"totp": _allauth_app, "webauthn": _allauth_passkey})
        for table in source.otp_tables():
            kind = RECOVERY_CODES if table == OTP_RECOVERY_CODES_TABLE else table
            for row in source.rows(table):
                # Each device of django-otp has both columns. Others are parts of devices, or of another app.
                if row.get("user_id") is not None and row.get("confirmed"):
                    self._add(row, kind, {OTP_APP_TABLE: _otp_app})
        self._lose_passkeys_of_others()
        # Codes alone are a factor, too (django-otp).
        self.lost |= self.recovery_codes - self._factors.keys()

    def of(self, user: User, old_id: str) -> list[Factor]:
        """Returns the unsaved factors of a user."""
        return [read(user) for read in self._factors.get(old_id, {}).values()]

    def _add(self, row: Row, kind: Any, readers: dict[str, Reader]) -> None:
        old_id = old_users.id_text(row["user_id"])
        if kind == RECOVERY_CODES:
            self.recovery_codes.add(old_id)
            return
        try:
            read = readers[kind]
            factor = read(row, User())
        except Exception:
            # The libraries raise errors of many types for input that they do not know.
            self.lost.add(old_id)
            return
        key: Any = (kind, row["id"])
        if isinstance(factor, Passkey):
            key = bytes(factor.credential_id)
            if self._owners_of_passkeys.setdefault(key, old_id) != old_id:
                self.lost.add(old_id)
                return
        self._factors.setdefault(old_id, {})[key] = partial(read, row)

    def _lose_passkeys_of_others(self) -> None:
        """Of passkeys that another account here has. Two statements for each MAX_QUERY_VALUES passkeys."""
        for some in chunks(list(self._owners_of_passkeys)):
            holders = Passkey.objects.filter(credential_id__in=some).values_list("credential_id", "user")
            here = {bytes(credential_id): user_id for credential_id, user_id in holders}
            old_ids = dict(MovedInUser.objects.filter(user__in=here.values()).values_list("user", "pk"))
            for credential_id, user_id in here.items():
                old_id = self._owners_of_passkeys[credential_id]
                if old_ids.get(user_id) != old_id:
                    self.lost.add(old_id)
                    del self._factors[old_id][credential_id]


def _app(user: User, secret: bytes, created_at: Any, last_used_at: Any) -> AuthenticatorApp:
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError("too short")
    created_at = old_users.moment(created_at) or timezone.now()
    used_at = old_users.moment(last_used_at)
    app = AuthenticatorApp(user=user, created_at=created_at, confirmed_at=created_at, last_used_at=used_at)
    totp.set_secret(app, secret)
    return app


def _otp_app(row: Row, user: User) -> AuthenticatorApp:
    """A device of django-otp. Raises ValueError for one with other settings than the apps here have."""
    if (int(row["step"]), int(row["t0"]), int(row["digits"])) != (totp.STEP_SECONDS, 0, totp.DIGITS):
        raise ValueError("another kind of code")
    if abs(int(row.get("drift") or 0)) > totp.WINDOW:
        raise ValueError("a clock that differs")
    app = _app(user, bytes.fromhex(row["key"]), row.get("created_at"), row.get("last_used_at"))
    app.last_used_step = max(0, int(row.get("last_t") or 0))
    return app


def _data(row: Row) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(row["data"]) if isinstance(row["data"], str) else row["data"]
    return data


def _allauth_app(row: Row, user: User) -> AuthenticatorApp:
    text = str(_data(row)["secret"]).upper().rstrip("=")
    secret = base64.b32decode(text + "=" * (-len(text) % 8))
    return _app(user, secret, row.get("created_at"), row.get("last_used_at"))


def _allauth_passkey(row: Row, user: User) -> Passkey:
    data = _data(row)
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
        last_used_at=old_users.moment(row.get("last_used_at")),
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
