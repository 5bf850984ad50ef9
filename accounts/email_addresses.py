"""E-mail addresses of accounts: confirmation and change."""

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import links, mail, quotas, rate_limits
from accounts.http import request_context
from accounts.models import AccountChanged, AttemptCounter, SecurityEvent, User


def send_confirmation(user: User) -> None:
    """
    Mails a link, valid once and for an hour, to the address that is to be confirmed, if the quota of confirmation mails
    is not used up. For a new address that belongs to another account, the mail says so and has no link. The caller does
    not learn which mail was sent, or whether one was.
    """
    address, is_taken = user.address_to_confirm, _is_taken(user)
    links.require_site("email_confirm")
    try:
        AttemptCounter.objects.consume_quota(quotas.confirmation_mails(user, address, is_taken))
    except rate_limits.TooManyAttempts:
        return
    mail.send_later("address_taken" if is_taken else "confirm_email", user, to=address)


def _is_taken(user: User) -> bool:
    """Whether the new address is an address or a username of another account. One statement if one is pending."""
    return bool(user.new_email) and User.objects.with_login(user.new_email).exclude(pk=user.pk).exists()


def resend_confirmation(user: User) -> str:
    """Mails the link again as send_confirmation(), if an address is to be confirmed. Returns the address, or ""."""
    if user.address_to_confirm:
        send_confirmation(user)
    return user.address_to_confirm


def request_change(user: User, new_email: str) -> None:
    """
    Mails a link to the new address; the address changes when the link is used. The caller does not learn whether
    another account has the address. Raises ValidationError for an invalid address, TooManyAttempts, and AccountChanged
    if the account's sign-ins ended since this instance was read.
    """
    if not user.may_have_mailbox:
        raise ValidationError(_("The e-mail address of this account cannot be changed."), code="no_mailbox")
    if not new_email:
        raise ValidationError(User._meta.get_field("email").error_messages["blank"], code="blank")
    new_email = User._meta.get_field("email").clean(User.objects.normalize_email(new_email), user)
    AttemptCounter.objects.consume_quota(quotas.address_changes(user, request_context.ip_address()))
    if new_email == user.email:
        raise ValidationError(_("This is already your e-mail address."), code="email_same")
    with transaction.atomic():
        # The end of all sign-ins cancels a pending change. A request that began before must not restore it.
        unchanged = User.objects.filter(pk=user.pk, password=user.password, generation=user.generation)
        pending = unchanged.filter(is_active=True).lock().values_list("new_email", flat=True).first()
        if pending is None:
            raise AccountChanged
        user.new_email = new_email
        user.save(update_fields=["new_email"])
        if pending != new_email:
            SecurityEvent.objects.record(SecurityEvent.Type.EMAIL_CHANGE_ASKED, user)
            user.notify("email_change_asked", new_address=new_email)
        send_confirmation(user)


def get_by_token(uid: str, token: str) -> User | None:
    """Returns the user whose address this link confirms, or None for an invalid link."""
    return User.objects.get_by_token(uid, lambda user: links.email_confirmation.check_token(user, token))


def get_by_used_token(uid: str, token: str) -> User | None:
    """Returns the user whose address this link has already confirmed, or None for any other link."""
    return User.objects.get_by_token(uid, lambda user: links.email_confirmation.has_confirmed(user, token))


def confirm(uid: str, token: str) -> User:
    """
    Confirms the address to which the link was mailed, and returns the user. Raises AccountChanged if the link is no
    longer valid, or if another account has the address.
    """
    try:
        with transaction.atomic():
            user = User.objects.lock().get_by_token(uid, lambda user: links.email_confirmation.check_token(user, token))
            if user is None:
                raise AccountChanged
            set_confirmed_address(user)
    except IntegrityError as error:
        raise AccountChanged from error
    return user


def require_confirmation(user: User) -> None:
    """After staff changed the address: the user must confirm it, and a pending change to another one is cancelled."""
    user.cancel_email_change()
    User.objects.filter(pk=user.pk).update(email_confirmed_at=None)


def set_confirmed_address(user: User) -> None:
    """
    Confirms the account's address; a pending address, if there is one, replaces it first. Raises AccountChanged if
    another account has the address.
    """
    old_email = user.email if user.new_email else ""
    if User.objects.with_login(user.address_to_confirm).exclude(pk=user.pk).exists():
        raise AccountChanged
    was_confirmed = user.email_confirmed_at is not None
    user.email, user.new_email = user.new_email or user.email, ""
    user.email_confirmed_at = timezone.now()
    user.save(update_fields=["email", "new_email", "email_confirmed_at"])
    if not old_email:
        SecurityEvent.objects.record(SecurityEvent.Type.EMAIL_CONFIRMED, user)
        return
    SecurityEvent.objects.record(SecurityEvent.Type.EMAIL_CHANGED, user)
    if was_confirmed:
        user.notify("email_changed", to=old_email, new_address=user.email)
