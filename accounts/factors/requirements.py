"""
Requirements: which accounts can have and must have a second factor (SECOND_FACTOR), and which level a proof needs.

off: no account can add one, and those that exist are not required. offered: each user can add one. staff: staff members
must have one. all: all users must. Service accounts have none.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, OuterRef

from accounts.models import AuthenticatorApp, Method, Passkey, RecoveryCode, SignIn, User


def is_on() -> bool:
    """Returns whether second factors are used at all."""
    return settings.SECOND_FACTOR != "off"


def can_add(user: User) -> bool:
    """Returns whether the user can add a second factor."""
    return is_on() and not user.is_service and not user.is_throw_away


def has_second_factor(user: User) -> bool:
    """Returns whether the sign-ins of the user need a second step. One statement, or none if factors are off."""
    return is_on() and not User.objects.filter(pk=user.pk).without_second_factor().exists()


def level_of_account(user: User) -> int:
    """Returns the level that sensitive actions of the user need: 2 with a second factor. At most one statement."""
    return 2 if has_second_factor(user) else 1


def methods_of(user: User) -> list[str]:
    """
    Returns the methods that complete the user's second step or confirm a sensitive action, the strongest first: the
    password alone, or else an account of another site, if the account has no second factor. At most one statement, and
    one more if fields of `user` are deferred and OPENID_PROVIDERS is set.
    """
    if not is_on():
        return [_first_method_of(user)]
    owner = OuterRef("pk")
    usable = {
        Method.PASSKEY.value: Passkey.objects.filter(user=owner),
        Method.TOTP.value: AuthenticatorApp.objects.enabled().filter(user=owner, confirmed_at__isnull=False),
        Method.RECOVERY_CODE.value: RecoveryCode.objects.filter(
            code_set__user=owner, code_set__disabled_at=None, used_at=None
        ),
    }
    exists: dict[str, Any] = {f"has_{method}": Exists(rows) for method, rows in usable.items()}
    row = User.objects.filter(pk=user.pk).annotate(
        needs_second=~Exists(User.objects.filter(pk=owner).without_second_factor()), **exists
    )
    flags = row.values("needs_second", *exists).first()
    if not flags or not flags["needs_second"]:
        return [_first_method_of(user)]
    return [method for method in usable if flags[f"has_{method}"]]


def has_password(user: User) -> bool:
    """
    Returns whether the user can be asked for a password: not for one who signs in by an account of another site alone.
    True without OPENID_PROVIDERS. At most one statement, if fields of `user` are deferred.
    """
    return not settings.OPENID_PROVIDERS or user.with_all_fields().has_usable_password()


def _first_method_of(user: User) -> str:
    return Method.PASSWORD.value if has_password(user) else Method.OPENID.value


def is_recent(user: User, sign_in: SignIn, level: int | None = None, within: timedelta | None = None) -> bool:
    """
    Returns whether the user proved who they are in this sign-in recently (`within`, or REAUTHENTICATION_TIMEOUT), at
    `level`, or else at the level of the account. At most one statement, for a sign-in of level 1.
    """
    if not sign_in.is_recently_authenticated(level or 1, within):
        return False
    return level is not None or sign_in.level >= level_of_account(user)
