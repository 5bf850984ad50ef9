"""Passwords of accounts: change, reset by mail, and the check of the password of a signed-in user."""

from datetime import datetime

from django.conf import settings
from django.contrib.auth import authenticate
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import hashing, links, mail, quotas, rate_limits
from accounts.http import request_context
from accounts.models import AccountChanged, AttemptCounter, ConnectedAccount, Method, SecurityEvent, SignIn, User

# Events that set a password.
SET_BY = {SecurityEvent.Type.PASSWORD_CHANGED, SecurityEvent.Type.PASSWORD_RESET}


def change(user: User, new_password: str, keep: SignIn | None = None) -> None:
    """
    Changes the password that was just verified on this instance, and ends all sign-ins but `keep`. Raises
    AccountChanged if another request has changed it since, and HashingOverloaded.
    """
    # Hashed before the row is locked, since hashing may wait for a slot.
    new_hash = hashing.hashed(new_password)
    with transaction.atomic():
        user.replace_password(new_hash, SecurityEvent.Type.PASSWORD_CHANGED, keep.pk if keep else None)
        if keep:
            keep.auth_hash = user.get_session_auth_hash()
            keep.mark_reauthenticated()


def set_at(user: User) -> datetime | None:
    """Returns when the user's password was set, as set_by() does. One statement."""
    return set_by(user, SecurityEvent.objects.filter(user=user, type__in=SET_BY).first())


def set_by(user: User, latest: SecurityEvent | None) -> datetime | None:
    """
    Returns the time of the latest event that set the password, or else that of the account. None if that is longer ago
    than events are kept.
    """
    if latest:
        return latest.created_at
    return user.date_joined if user.date_joined > timezone.now() - settings.EVENT_KEEP else None


def request_reset(email: str) -> None:
    """
    Mails a link, valid once and for an hour, if an account has this address and the quota of reset mails is not used
    up. The caller does not learn whether a mail was sent.
    """
    try:
        AttemptCounter.objects.consume_quota(quotas.reset_mails(email, request_context.ip_address()))
    except rate_limits.TooManyAttempts:
        return
    send_reset(User.objects.get_by_email(email))


def send_reset(user: User | None) -> None:
    """
    Records that a reset was requested, and mails the link if the user may reset the password. Two statements, also
    without an account, so that the response time does not show whether there is one.
    """
    try:
        _record_and_mail_reset(user)
    except IntegrityError:
        # PostgreSQL compares foreign keys at the commit: the account was deleted meanwhile.
        _record_and_mail_reset(None)


def _record_and_mail_reset(user: User | None) -> None:
    with transaction.atomic():
        SecurityEvent.objects.record(SecurityEvent.Type.PASSWORD_RESET_ASKED, user)
        # The worker checks User.may_reset_password: its statement for a user without a password would show one here.
        mail_reset_link(user if user and user.is_active and user.email and user.has_mailbox else None)


def mail_reset_link(user: User | None) -> None:
    """Mails a link to set a new password, valid once and for an hour. Without a user, no mail is sent."""
    links.require_site("password_reset_confirm")
    mail.send_later("password_reset", user, priority=mail.Priority.RESET)


def get_by_reset_token(uid: str, token: str) -> User | None:
    """Returns the user whose password this link resets, or None for an invalid link."""
    return User.objects.get_by_token(uid, lambda user: links.password_reset.check_token(user, token))


def reset(user: User, new_password: str) -> None:
    """
    Sets a new password for a user who has just used a reset link, confirms the address and ends all sign-ins. Raises
    AccountChanged if the link was used meanwhile, and HashingOverloaded.
    """
    new_hash = hashing.hashed(new_password)
    with transaction.atomic():
        # The link was mailed to the address of this instance: the row must still have it.
        unchanged = User.objects.filter(pk=user.pk, email=user.email)
        if user.email_confirmed_at is None:
            # A person who signed up with the address of another one keeps no way in.
            ConnectedAccount.objects.of(user).delete()
        user.email_confirmed_at = user.email_confirmed_at or timezone.now()
        if not unchanged.update(email_confirmed_at=Coalesce("email_confirmed_at", user.email_confirmed_at)):
            raise AccountChanged
        user.mark_stored(["email_confirmed_at"])
        user.replace_password(new_hash, SecurityEvent.Type.PASSWORD_RESET)
        # Wrong guesses of the old password must not lock the new one out. The limit of codes stays.
        AttemptCounter.objects.of(user).exclude(kind=rate_limits.Kind.CODE).lift()


def reauthenticate(request: HttpRequest, password: str) -> User:
    """
    Verifies the password of the signed-in user, and returns the user, read again. Records that; a wrong password is
    counted and recorded like a failed sign-in. Raises ValidationError for a wrong password, TooManyAttempts and
    HashingOverloaded.
    """
    user = authenticate(
        request,
        username=request.user.get_username(),
        password=password,
        # Services have no browser sign-ins, and may check their password here.
        kind=SignIn.Kind.CLIENT,
        signed_in_user=request.user,
    )
    if not isinstance(user, User) or user.pk != request.user.pk:
        raise ValidationError(_("The password is wrong."), code="password_incorrect")
    SecurityEvent.objects.record_reauthentication(user, Method.PASSWORD)
    return user
