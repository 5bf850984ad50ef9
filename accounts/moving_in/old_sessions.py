"""Sessions of the site before, a Django project: their content, and the user whose session it is."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.base import VALID_KEY_CHARS
from django.core import signing
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts.models import MovedInUser
from accounts.moving_in import continuing

# The salts of Django: SessionBase.key_salt, signed_cookies, and AbstractBaseUser.get_session_auth_hash().
TABLE_SALT = "django.contrib.sessions.SessionStore"
COOKIE_SALT = "django.contrib.sessions.backends.signed_cookies"
PASSWORD_SALT = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"  # noqa: S105
MAX_COOKIE_LENGTH = 4096


def is_on() -> bool:
    """Returns whether sessions of the site before are taken now."""
    return bool(settings.LEGACY_SESSION_KEY) and continuing.is_active(settings.LEGACY_SESSION_UNTIL)


def session_hash(password: str) -> str:
    """Returns what the sessions of a user with this password hash contain of it; "" without LEGACY_SESSION_KEY."""
    if not settings.LEGACY_SESSION_KEY:
        return ""
    return salted_hmac(PASSWORD_SALT, password, secret=settings.LEGACY_SESSION_KEY, algorithm="sha256").hexdigest()


def credential_of(session_key: str) -> UUID:
    """Returns the id of a row of django_session, or of a session in a cookie."""
    return continuing.id_of("session", session_key)


def decoded_row(session_data: str) -> dict[str, Any] | None:
    """Returns the content of a row of django_session; None if LEGACY_SESSION_KEY has not signed it."""
    return _loaded(session_data, TABLE_SALT)


def decoded_cookie(cookie: str) -> dict[str, Any] | None:
    """Returns the content of a session in a cookie (signed_cookies); None for an invalid or expired one."""
    return _loaded(cookie, COOKIE_SALT, max_age=settings.SIGN_IN_MAX)


def is_session_key(cookie: str) -> bool:
    """Returns whether the cookie has the form of the key of a row."""
    return 8 <= len(cookie) <= 40 and set(VALID_KEY_CHARS).issuperset(cookie)


def user_id_of(content: dict[str, Any]) -> str:
    """Returns the id of the session's user; "" for an anonymous session."""
    return str(content.get(SESSION_KEY, ""))


def is_of_password(content: dict[str, Any], owner: MovedInUser) -> bool:
    """Returns whether the session was started with the password that was imported."""
    found = content.get(HASH_SESSION_KEY)
    return bool(owner.session_hash) and isinstance(found, str) and constant_time_compare(found, owner.session_hash)


def _loaded(text: str, salt: str, **options: Any) -> dict[str, Any] | None:
    """The content of a signed text. It is JSON, Django's default: a pickle is never loaded."""
    try:
        content = signing.loads(text, key=settings.LEGACY_SESSION_KEY, salt=salt, **options)
    except (signing.BadSignature, ValueError):
        return None
    return content if isinstance(content, dict) else None
