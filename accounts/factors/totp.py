"""Authenticator apps: time-based one-time passwords (RFC 6238), and the encryption of their secrets."""

import base64
import logging
import secrets
import time
from urllib.parse import quote, urlencode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.twofactor.hotp import HOTP
from django.conf import settings
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from accounts.models import AuthenticatorApp, User

log = logging.getLogger(__name__)

# RFC 4226, section 4, recommends 160 bits. SHA-1, six digits and 30 seconds are what every app supports.
SECRET_BYTES = 20
DIGITS = 6
STEP_SECONDS = 30
# Steps before and after the current one that are accepted (RFC 6238, section 5.2), for clocks that differ.
WINDOW = 1
NONCE_BYTES = 12


def use(user: User, code: str) -> AuthenticatorApp | None:
    """
    Returns the user's app that shows this code now, and records that the code was used; None for a wrong code or one
    that was used, on any node. Two statements for a right code, one for a wrong one.
    """
    for app in AuthenticatorApp.objects.of(user).enabled().filter(confirmed_at__isnull=False):
        if (step := matching_step(app, code)) is not None and _swap_step(app, step):
            return app
    return None


def confirm(app: AuthenticatorApp, code: str) -> bool:
    """Confirms a new app by its first code. Returns whether the code is right. At most one statement."""
    step = matching_step(app, code)
    return step is not None and _swap_step(app, step, confirmed_at=timezone.now())


def matching_step(app: AuthenticatorApp, code: str) -> int | None:
    """Returns the time step whose code this is, if no later or equal one was used; None otherwise."""
    secret = _decrypt(app)
    if secret is None or len(code) != DIGITS or not code.isascii() or not code.isdigit():
        return None
    now = int(time.time()) // STEP_SECONDS
    # Each step is computed and compared, so that the time shows nothing.
    steps = [step for step in range(now - WINDOW, now + WINDOW + 1) if _is_code_of(secret, step, code)]
    return next((step for step in steps if step > app.last_used_step), None)


def new_secret(app: AuthenticatorApp) -> bytes:
    """Returns a new random secret, and sets it, encrypted, on the app, which the caller saves."""
    secret = secrets.token_bytes(SECRET_BYTES)
    set_secret(app, secret)
    return secret


def set_secret(app: AuthenticatorApp, secret: bytes) -> None:
    """Sets a secret, encrypted, on an app, which the caller saves."""
    app.secret = _encrypt(app, secret)


def secret_of(app: AuthenticatorApp) -> bytes | None:
    """Returns the secret of an app that is not confirmed yet; None for a confirmed one, whose secret is never shown."""
    return None if app.confirmed_at else _decrypt(app)


def shown_secret(secret: bytes) -> str:
    """Returns the secret as apps take it: base32 without padding."""
    return base64.b32encode(secret).decode().rstrip("=")


def uri(user: User, secret: bytes) -> str:
    """Returns the otpauth URI of a secret, which apps read from a QR code."""
    # A colon separates the issuer from the account (Google Authenticator, "Key Uri Format").
    issuer = settings.SITE_NAME.replace(":", " ")
    label = quote(f"{issuer}:{user.get_username()}", safe="@:")
    return f"otpauth://totp/{label}?{urlencode({'secret': shown_secret(secret), 'issuer': issuer}, quote_via=quote)}"


def qr_svg(text: str) -> str:
    """Returns a QR code as an SVG element without style attributes, as the Content Security Policy requires."""
    # Imported here: only this function needs it.
    import segno

    svg: str = segno.make(text, error="m").svg_inline(scale=4, border=4, omitsize=True, dark="#000", light="#fff")
    return svg


def _is_code_of(secret: bytes, step: int, code: str) -> bool:
    return constant_time_compare(HOTP(secret, DIGITS, SHA1()).generate(step).decode(), code)  # noqa: S303


def _swap_step(app: AuthenticatorApp, step: int, **changes: object) -> bool:
    """Records a used step by compare-and-swap, so that a code is valid once. Encrypts with the current key again."""
    secret = _decrypt(app)
    if secret is not None and not _is_current(app):
        changes["secret"] = _encrypt(app, secret)
    unused = AuthenticatorApp.objects.enabled().filter(pk=app.pk, last_used_step__lt=step)
    return bool(unused.update(last_used_step=step, last_used_at=timezone.now(), failures=0, **changes))


# Encryption: AES-256-GCM. The ids of app and user are authenticated, so that no row's secret is valid in another row.


def _key(secret_key: str) -> AESGCM:
    info = b"wristband-passport authenticator app"
    return AESGCM(HKDF(SHA256(), 32, salt=None, info=info).derive(secret_key.encode()))


def _bound_to(app: AuthenticatorApp) -> bytes:
    return f"{app.pk} {app.user_id}".encode()


def _encrypt(app: AuthenticatorApp, secret: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + _key(settings.SECRET_KEY).encrypt(nonce, secret, _bound_to(app))


def _decrypted_by(app: AuthenticatorApp, secret_key: str) -> bytes | None:
    stored = bytes(app.secret)
    try:
        return _key(secret_key).decrypt(stored[:NONCE_BYTES], stored[NONCE_BYTES:], _bound_to(app))
    except (InvalidTag, ValueError):
        return None


def _is_current(app: AuthenticatorApp) -> bool:
    return _decrypted_by(app, settings.SECRET_KEY) is not None


def _decrypt(app: AuthenticatorApp) -> bytes | None:
    """Returns the secret; None, with a log line, if SECRET_KEY and all fallback keys are others than it had."""
    for secret_key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        if (secret := _decrypted_by(app, secret_key)) is not None:
            return secret
    log.error("The secret of an authenticator app cannot be decrypted: SECRET_KEY was replaced without a fallback.")
    return None
