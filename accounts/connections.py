"""Connections of users with accounts at providers: connect, disconnect, sign up. Each sends a mail, and is recorded."""

from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext_lazy as _

from accounts import ending
from accounts.models import AccountChanged, ConnectedAccount, Identity, SecurityEvent, SignIn, User

MAX_CONNECTIONS = 10


class ConnectionRefused(ValidationError):
    """An account cannot be connected or disconnected."""


def already_connected() -> ConnectionRefused:
    """The error for an account that is connected to another user."""
    return ConnectionRefused(_("This account is already connected to another user."), "connected_to_other")


def connect(user: User, identity: Identity) -> ConnectedAccount:
    """
    Connects an account that its owner has just proved to a user who is signed in. Raises ConnectionRefused if it is
    connected to another user, and AccountChanged for a user who was deactivated.
    """
    with transaction.atomic():
        _lock(user)
        existing: ConnectedAccount | None = ConnectedAccount.objects.get_by_identity(identity)
        if existing and existing.user_id == user.pk:
            return existing
        if ConnectedAccount.objects.of(user).count() >= MAX_CONNECTIONS:
            raise ConnectionRefused(_("Your account has the maximum number of connected accounts."), "too_many")
        account = None if existing else insert(user, identity)
        if account is None:
            raise already_connected()
        SecurityEvent.objects.record(SecurityEvent.Type.ACCOUNT_CONNECTED, user, provider=account.provider)
        user.notify("account_connected", provider=account.provider_name)
    return account


def insert(user: User, identity: Identity) -> ConnectedAccount | None:
    """Inserts the row, in a transaction of the caller. None if the account was connected meanwhile."""
    account = ConnectedAccount(user=user, provider=identity.provider, subject=identity.subject, label=identity.label)
    try:
        with transaction.atomic():
            account.save(force_insert=True)
    except IntegrityError:
        return None
    return account


def disconnect(user: User, pk: UUID, keep: SignIn | None) -> None:
    """
    Disconnects an account, and ends all sign-ins of the user but `keep`. Raises ConnectionRefused for the last way to
    sign in, and AccountChanged for a user who was deactivated.
    """
    with transaction.atomic():
        locked = _lock(user)
        account: Any = ConnectedAccount.objects.of(user).filter(pk=pk).first()
        if account is None:
            return
        if is_last_way_in(locked, account):
            raise ConnectionRefused(_("It is your only way to sign in. Set a password first."), "last_way_in")
        account.delete()
        SecurityEvent.objects.record(SecurityEvent.Type.ACCOUNT_DISCONNECTED, user, provider=account.provider)
        user.notify("account_disconnected", provider=account.provider_name)
        ending.end_all(user, SignIn.Reason.ENDED_BY_USER, keep)


def is_last_way_in(user: User, account: ConnectedAccount) -> bool:
    """
    Returns whether the user has neither a password nor another connected account that can be used. A passkey does not
    count: its removal is not refused. At most one statement.
    """
    if user.has_usable_password():
        return False
    return not ConnectedAccount.objects.of(user).usable().exclude(pk=account.pk).exists()


def _lock(user: User) -> User:
    """The user with a locked row. Raises AccountChanged for one who is not active."""
    locked: User | None = User.objects.filter(pk=user.pk, is_active=True).lock().first()
    if locked is None:
        raise AccountChanged
    return locked
