"""Choices of the models: kinds of sign-ins, reasons of their end, proved methods, types of security events."""

from collections.abc import Iterable
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _


class SignInKind(models.TextChoices):
    """Kinds of sign-ins: a cookie session, a family of tokens, or one key for the API."""

    BROWSER = "browser", _("browser")
    CLIENT = "client", _("client")
    API_KEY = "key", _("API key")


class KeyScope(models.TextChoices):
    """What an API key can do, within what its owner can do."""

    READ = "read", _("read")
    WRITE = "write", _("write")


class EndReason(models.TextChoices):
    """Reasons for which a sign-in ended."""

    SIGNED_OUT = "signed_out", _("signed out")
    ENDED_BY_USER = "ended_by_user", _("ended by the user")
    ENDED_BY_STAFF = "ended_by_staff", _("ended by staff")
    PASSWORD_CHANGED = "password_changed", _("password changed")
    USER_DEACTIVATED = "user_deactivated", _("account deactivated")
    USER_DELETED = "user_deleted", _("account deleted")
    TOKEN_REUSED = "token_reused", _("refresh token used twice")
    FACTOR_REMOVED = "factor_removed", _("second factor removed")
    LIMIT_REACHED = "limit_reached", _("too many sign-ins")
    SUPPORT_ENDED = "support_ended", _("support ended")


class Method(models.TextChoices):
    """What a user proved in a sign-in."""

    PASSWORD = "password", _("password")
    PASSKEY = "passkey", _("passkey")
    TOTP = "totp", _("authenticator app")
    RECOVERY_CODE = "recovery_code", _("recovery code")
    # The user proved an account at a provider (accounts.openid). Any factors used there are not counted.
    OPENID = "openid", _("account of another site")


# No sign-in starts with a code alone: where one was proved, so was a password or an account of another site before. A
# passkey that verifies the user is two factors by itself (NIST SP 800-63B-4, section 2.2).
LEVEL_2_METHODS = frozenset({Method.PASSKEY.value, Method.TOTP.value, Method.RECOVERY_CODE.value})


def level_of(methods: Iterable[str]) -> int:
    """Returns the authentication level of proved methods: 2 with a second factor or a passkey, otherwise 1."""
    return 2 if not LEVEL_2_METHODS.isdisjoint(methods) else 1


class EventType(models.TextChoices):
    """Types of security events."""

    SIGNED_UP = "signed_up", _("signed up")
    SIGNED_IN = "signed_in", _("signed in")
    API_KEY_MADE = "api_key_made", _("API key created")
    SIGNED_IN_AS = "signed_in_as", _("staff member signed in as the user")
    SIGN_IN_FAILED = "sign_in_failed", _("sign-in failed")
    REAUTHENTICATED = "reauthenticated", _("identity confirmed")
    SIGNED_OUT = "signed_out", _("signed out")
    SIGN_IN_ENDED = "sign_in_ended", _("sign-in ended")
    TOKEN_REUSED = "token_reused", _("refresh token used twice")
    PASSWORD_CHANGED = "password_changed", _("password changed")
    PASSWORD_RESET_ASKED = "password_reset_asked", _("password reset requested")
    PASSWORD_RESET = "password_reset", _("password reset")
    EMAIL_CONFIRMED = "email_confirmed", _("e-mail address confirmed")
    EMAIL_CHANGE_ASKED = "email_change_asked", _("e-mail address change requested")
    EMAIL_CHANGE_CANCELLED = "email_change_cancelled", _("e-mail address change cancelled")
    EMAIL_CHANGED = "email_changed", _("e-mail address changed")
    USER_DEACTIVATED = "user_deactivated", _("account deactivated")
    LOCKED = "locked", _("locked after too many attempts")
    UNLOCKED = "unlocked", _("unlocked")
    USER_REACTIVATED = "user_reactivated", _("account reactivated")
    USER_EDITED = "user_edited", _("account edited by staff")
    RIGHTS_CHANGED = "rights_changed", _("permissions changed")
    TOKEN_REVOKED = "token_revoked", _("access token revoked")
    TOKEN_BLOCKED = "token_blocked", _("leaked token blocked")
    BLOCK_LIFTED = "block_lifted", _("token unblocked")
    EVENTS_EXPORTED = "events_exported", _("events exported")
    FACTOR_ADDED = "factor_added", _("second factor added")
    FACTOR_RENAMED = "factor_renamed", _("second factor renamed")
    FACTOR_REMOVED = "factor_removed", _("second factor removed")
    FACTOR_DISABLED = "factor_disabled", _("second factor disabled after too many wrong codes")
    FACTOR_REMOVAL_ASKED = "factor_removal_asked", _("removal of second factors requested")
    FACTOR_REMOVAL_STOPPED = "factor_removal_stopped", _("removal of second factors stopped")
    RECOVERY_CODES_MADE = "recovery_codes_made", _("recovery codes created")
    RECOVERY_CODE_USED = "recovery_code_used", _("recovery code used")
    SECOND_STEP_FAILED = "second_step_failed", _("second step failed")
    ACCOUNT_CONNECTED = "account_connected", _("account of another site connected")
    ACCOUNT_DISCONNECTED = "account_disconnected", _("account of another site disconnected")
    PASSKEY_COUNTER = "passkey_counter", _("passkey used with an old counter")
    DEVICE_PROOF_FAILED = "device_proof_failed", _("session used without its device")


# Callable choices of fields, so that a new choice needs no migration (Django documentation, Field.choices).


def sign_in_kinds() -> list[tuple[str, Any]]:
    return SignInKind.choices


def end_reasons() -> list[tuple[str, Any]]:
    return EndReason.choices


def event_types() -> list[tuple[str, Any]]:
    return EventType.choices
