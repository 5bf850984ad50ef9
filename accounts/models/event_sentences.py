"""What a security event means to the account's owner: its importance, and sentences for one and for several."""

from collections.abc import Mapping
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from accounts.models.choices import EndReason, EventType, SignInKind


class Importance(models.TextChoices):
    """Groups of event types, which are also the filters of the activity page."""

    SIGN_IN = "sign-ins", _("Sign-ins")
    SECURITY = "security", _("Security")
    ALARM = "alarms", _("Alarms")


_SIGN_INS = {
    EventType.SIGNED_UP,
    EventType.SIGNED_IN,
    EventType.SIGN_IN_FAILED,
    EventType.REAUTHENTICATED,
    EventType.SIGNED_OUT,
    EventType.SIGN_IN_ENDED,
    EventType.TOKEN_REVOKED,
}
_ALARMS = {
    EventType.TOKEN_REUSED,
    EventType.TOKEN_BLOCKED,
    EventType.LOCKED,
    EventType.SECOND_STEP_FAILED,
    EventType.PASSKEY_COUNTER,
    EventType.DEVICE_PROOF_FAILED,
    EventType.FACTOR_DISABLED,
    EventType.FACTOR_REMOVAL_ASKED,
}
TYPES_OF = {
    Importance.SIGN_IN: _SIGN_INS,
    Importance.SECURITY: set(EventType) - _SIGN_INS - _ALARMS,
    Importance.ALARM: _ALARMS,
}
_IMPORTANCE_OF: dict[str, Importance] = {type: importance for importance, types in TYPES_OF.items() for type in types}

SENTENCES: dict[str, Any] = {
    EventType.SIGNED_UP: _("You created this account."),
    EventType.SIGNED_IN: _("A browser signed in."),
    EventType.API_KEY_MADE: _("An API key was created."),
    EventType.SIGNED_IN_AS: _("A staff member signed in to your account for support."),
    EventType.SIGN_IN_FAILED: _("A sign-in attempt failed: wrong password."),
    EventType.REAUTHENTICATED: _("You confirmed who you are."),
    EventType.SIGNED_OUT: _("A device signed out."),
    EventType.SIGN_IN_ENDED: _("A device was signed out."),
    EventType.TOKEN_REUSED: _("A refresh token was used twice: there may be a copy of it. Its app was signed out."),
    EventType.PASSWORD_CHANGED: _("Your password was changed."),
    EventType.PASSWORD_RESET_ASKED: _("A link to set a new password was requested."),
    EventType.PASSWORD_RESET: _("A new password was set with a link from an e-mail."),
    EventType.EMAIL_CONFIRMED: _("Your e-mail address was confirmed."),
    EventType.EMAIL_CHANGE_ASKED: _("A change of your e-mail address was requested."),
    EventType.EMAIL_CHANGE_CANCELLED: _("The pending change of your e-mail address was cancelled."),
    EventType.EMAIL_CHANGED: _("Your e-mail address was changed."),
    EventType.USER_DEACTIVATED: _("Your account was deactivated."),
    EventType.LOCKED: _("Sign-in was paused for a while after too many wrong passwords."),
    EventType.UNLOCKED: _("Sign-in is no longer paused."),
    EventType.USER_REACTIVATED: _("Your account was reactivated."),
    EventType.USER_EDITED: _("A staff member edited your account."),
    EventType.RIGHTS_CHANGED: _("A staff member changed the permissions of your account."),
    EventType.TOKEN_REVOKED: _("An app revoked an access token."),
    EventType.TOKEN_BLOCKED: _("A staff member blocked a leaked access token."),
    EventType.BLOCK_LIFTED: _("A staff member unblocked an access token."),
    EventType.EVENTS_EXPORTED: _("You downloaded your activity."),
    EventType.FACTOR_ADDED: _("A second factor was added."),
    EventType.FACTOR_RENAMED: _("A second factor was renamed."),
    EventType.FACTOR_REMOVED: _("A second factor was removed."),
    EventType.FACTOR_DISABLED: _("A second factor was disabled after too many wrong codes."),
    EventType.FACTOR_REMOVAL_ASKED: _("A staff member requested the removal of all your second factors."),
    EventType.FACTOR_REMOVAL_STOPPED: _("The requested removal of your second factors was stopped."),
    EventType.RECOVERY_CODES_MADE: _("New recovery codes were created."),
    EventType.RECOVERY_CODE_USED: _("A recovery code was used."),
    EventType.SECOND_STEP_FAILED: _("A second step failed after the right password."),
    EventType.ACCOUNT_CONNECTED: _("An account of another site was connected, with which you can sign in."),
    EventType.ACCOUNT_DISCONNECTED: _("An account of another site was disconnected."),
    EventType.PASSKEY_COUNTER: _("A passkey was used whose counter did not increase: there may be a copy of it."),
    EventType.DEVICE_PROOF_FAILED: _("A browser could not prove that it is the device of a sign-in."),
}
# More exact sentences, by a detail of the event and its value.
EXACT: dict[str, tuple[str, dict[str, Any]]] = {
    EventType.SIGNED_IN: ("kind", {SignInKind.CLIENT: _("An app signed in.")}),
    EventType.SIGNED_OUT: (
        "kind",
        {
            SignInKind.BROWSER: _("A browser signed out."),
            SignInKind.CLIENT: _("An app signed out."),
            SignInKind.API_KEY: _("An API key was revoked."),
        },
    ),
    EventType.SIGN_IN_ENDED: ("kind", {SignInKind.API_KEY: _("An API key was ended.")}),
    EventType.FACTOR_ADDED: (
        "factor_kind",
        {"passkey": _("A passkey was added."), "totp": _("An authenticator app was added.")},
    ),
    EventType.FACTOR_RENAMED: (
        "factor_kind",
        {"passkey": _("A passkey was renamed."), "totp": _("An authenticator app was renamed.")},
    ),
    EventType.FACTOR_REMOVED: (
        "factor_kind",
        {
            "passkey": _("A passkey was removed."),
            "totp": _("An authenticator app was removed."),
            "recovery_codes": _("The recovery codes were deleted."),
        },
    ),
}
# Several equal events in one sentence, used from two on. Only these types and ENDS are merged.
PLURALS: dict[str, Any] = {
    EventType.SIGN_IN_FAILED: ngettext_lazy(
        "%(count)d sign-in attempt failed: wrong password.",
        "%(count)d sign-in attempts failed: wrong password.",
        "count",
    ),
    EventType.SIGNED_OUT: ngettext_lazy("%(count)d device signed out.", "%(count)d devices signed out.", "count"),
    EventType.TOKEN_REVOKED: ngettext_lazy(
        "An app revoked %(count)d access token.", "An app revoked %(count)d access tokens.", "count"
    ),
    EventType.TOKEN_BLOCKED: ngettext_lazy(
        "A staff member blocked %(count)d leaked access token.",
        "A staff member blocked %(count)d leaked access tokens.",
        "count",
    ),
    EventType.SECOND_STEP_FAILED: ngettext_lazy(
        "%(count)d second step failed after the right password.",
        "%(count)d second steps failed after the right password.",
        "count",
    ),
    EventType.PASSWORD_RESET_ASKED: ngettext_lazy(
        "%(count)d link to set a new password was requested.",
        "%(count)d links to set a new password were requested.",
        "count",
    ),
}
SIGNED_IN_PLURALS = {
    SignInKind.BROWSER: ngettext_lazy("%(count)d browser signed in.", "%(count)d browsers signed in.", "count"),
    SignInKind.CLIENT: ngettext_lazy("%(count)d app signed in.", "%(count)d apps signed in.", "count"),
}
# The type is unknown to this code.
OF_NEWER_RELEASE = _("Something happened that this version of the site cannot describe yet.")
# The end of sign-ins, by its reason.
ENDS = {
    EndReason.ENDED_BY_USER: ngettext_lazy("You signed out a device.", "You signed out %(count)d devices.", "count"),
    EndReason.ENDED_BY_STAFF: ngettext_lazy(
        "A staff member signed out a device.", "A staff member signed out %(count)d devices.", "count"
    ),
    EndReason.PASSWORD_CHANGED: ngettext_lazy(
        "The new password signed out a device.", "The new password signed out %(count)d devices.", "count"
    ),
    EndReason.USER_DEACTIVATED: ngettext_lazy(
        "The deactivation of your account signed out a device.",
        "The deactivation of your account signed out %(count)d devices.",
        "count",
    ),
    EndReason.TOKEN_REUSED: ngettext_lazy(
        "A device was signed out: its refresh token was used twice.",
        "%(count)d devices were signed out: their refresh tokens were used twice.",
        "count",
    ),
    EndReason.LIMIT_REACHED: ngettext_lazy(
        "A new sign-in signed out the oldest device: your account has reached its limit.",
        "A new sign-in signed out the %(count)d oldest devices: your account has reached its limit.",
        "count",
    ),
    EndReason.SUPPORT_ENDED: ngettext_lazy(
        "The sign-in of a staff member to your account ended.",
        "%(count)d sign-ins of staff members to your account ended.",
        "count",
    ),
    EndReason.FACTOR_REMOVED: ngettext_lazy(
        "The removal of a second factor signed out a device.",
        "The removal of a second factor signed out %(count)d devices.",
        "count",
    ),
}


def importance_of(type: str) -> Importance:
    """Returns the group of an event type; a type of a newer release, whose node recorded it, concerns security."""
    return _IMPORTANCE_OF.get(type, Importance.SECURITY)


def sentence(type: str, details: Mapping[str, Any], count: int = 1) -> str:
    """Returns the sentence for one event, or for `count` merged events, in the active language."""
    ending = _ending(details) if type == EventType.SIGN_IN_ENDED else None
    if ending:
        return str(ending % {"count": count})
    if count > 1 and (several := plural(type, details)):
        return str(several % {"count": count})
    detail, exact = EXACT.get(type, ("", {}))
    return str(exact.get(details.get(detail, ""), SENTENCES.get(type, OF_NEWER_RELEASE)))


def _ending(details: Mapping[str, Any]) -> Any:
    """The sentence for ended devices; None for an API key, which is no device."""
    return None if details.get("kind") == SignInKind.API_KEY else ENDS.get(details.get("reason", ""))


def plural(type: str, details: Mapping[str, Any]) -> Any:
    """Returns the sentence for several such events, with a place for their `count`; None if they are not merged."""
    if type == EventType.SIGN_IN_ENDED:
        return _ending(details)
    if type == EventType.SIGNED_IN:
        return SIGNED_IN_PLURALS.get(details.get("kind", ""))
    return PLURALS.get(type)
