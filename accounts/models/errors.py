"""Errors of sign-ins and accounts."""

from django.core.exceptions import PermissionDenied


class SignInRefused(PermissionDenied):
    """The account was changed or deactivated, or its sign-ins were ended, while a sign-in was starting."""


class DPoPRequired(SignInRefused):
    """Tokens of this user must be bound to a key of the client (RFC 9449, DPoP)."""


class SecondStepRequired(SignInRefused):
    """The account has a second factor, and only one factor was proved."""


class SecondFactorMissing(SignInRefused):
    """The account must have a second factor, and has none."""


class AccountChanged(PermissionDenied):
    """The account has changed since this request verified a password or a link."""


class RefreshRefused(Exception):
    """The sign-in of the refresh token has ended, or the token was used before."""
