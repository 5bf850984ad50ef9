"""Registration: sign-up, throw-away users of the demo, and service accounts."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.contrib.auth.validators import ASCIIUsernameValidator
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import email_addresses, hashing, initial_passwords, profiles, quotas
from accounts.http import request_context
from accounts.models import AttemptCounter, Method, SecurityEvent, User

THROW_AWAY_LIFETIME = timedelta(days=1)
# ASCII only, so that usernames cannot be confused by similar characters.
validate_new_username = ASCIIUsernameValidator()
NO_PROFILE: Mapping[str, Any] = {}


def count_sign_up() -> None:
    """
    Counts a sign-up of the client. Call it before a look-up whether a name is taken, since the answer reveals that.
    Raises TooManyAttempts if the client has signed up too often, or if too many passwords are being hashed.
    """
    hashing.check_flood()
    AttemptCounter.objects.consume_quota(quotas.sign_ups(request_context.ip_address()))


def sign_up(username: str, email: str, password: str, profile: Mapping[str, Any] = NO_PROFILE) -> User:
    """Calls count_sign_up() and then create_account(). Returns the new user."""
    count_sign_up()
    return create_account(username, email, password, profile)


def create_account(username: str, email: str, password: str, profile: Mapping[str, Any] = NO_PROFILE) -> User:
    """
    Creates an account for a sign-up that was counted, and mails a link to confirm its address. The caller has
    validated the password and the fields of the profile. Raises ValidationError, by field, for a name or address that
    is taken.
    """
    added = profiles.of_product(profile)
    user = User(username=username, email=User.objects.normalize_email(email), unused_since=timezone.now())
    for name in profile.keys() - added:
        setattr(user, name, profile[name])
    user.is_signing_up = True
    user.proved = (Method.PASSWORD,)
    check_new_names(username, email)
    user.full_clean(exclude=["password"])
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save(force_insert=True)
            profiles.save(user, {name: profile[name] for name in added})
            SecurityEvent.objects.record(SecurityEvent.Type.SIGNED_UP, user)
            email_addresses.send_confirmation(user)
    except IntegrityError:
        # Another request took the name after the check. full_clean() raises the same error as the check.
        user.pk = None
        user.full_clean()
        raise
    return user


def check_new_names(username: str, email: str) -> None:
    """Raises ValidationError, by field, for names that only a user who moved in may have."""
    try:
        validate_new_username(username)
    except ValidationError as error:
        raise ValidationError({"username": error}) from error
    if not email:
        raise ValidationError({"email": User._meta.get_field("email").error_messages["blank"]})


def create_throw_away_user(username: str, password: str) -> User:
    """Creates an account without a mailbox that is deleted after a day. Raises TooManyAttempts, as count_sign_up()."""
    count_sign_up()
    # RFC 2606: an address that never exists.
    email = f"{username}@throw-away.invalid"
    user = User(username=username, email=email, delete_after=timezone.now() + THROW_AWAY_LIFETIME)
    user.proved = (Method.PASSWORD,)
    user.set_password(password)
    with transaction.atomic():
        user.save(force_insert=True)
        SecurityEvent.objects.record(SecurityEvent.Type.SIGNED_UP, user)
    return user


def delete_expired_throw_away_users() -> int:
    """Deletes the throw-away users whose lifetime is over. Returns how many."""
    expired = User.objects.filter(delete_after__lte=timezone.now())
    return expired.delete()[1].get(User._meta.label, 0)


def create_service(name: str, scopes: Iterable[str]) -> tuple[User, str]:
    """Returns a new service account and its initial password. Raises ValidationError, by field."""
    # RFC 2606: an address that never exists. Addresses are unique, so each service needs one of its own.
    user = User(username=name, email=f"{name}@service.invalid", is_service=True, scopes=" ".join(scopes))
    password = initial_passwords.generate()
    user.set_password(password)
    user.full_clean()
    user.save(force_insert=True)
    return user, password
