"""Changes of the second factors of an account: add, rename, remove. Each writes an event; most send a mail."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, models, transaction
from django.utils import timezone
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode
from django.utils.translation import gettext_lazy as _

from accounts import ending
from accounts.factors import passkeys, recovery_codes, second_step, totp
from accounts.factors.errors import FactorRefused, StepNotValid
from accounts.models import (
    AccountChanged,
    AuthenticatorApp,
    Factor,
    Passkey,
    RecoveryCodeSet,
    SecurityEvent,
    SignIn,
    User,
)

MAX_APPS = 10
# How long the secret of a new app is shown. A later confirmation needs a new secret.
UNCONFIRMED_APP_AGE = timedelta(minutes=15)
FACTOR_MODELS: tuple[type[Factor], ...] = (Passkey, AuthenticatorApp, RecoveryCodeSet)


def factors_of(user: User) -> list[Factor]:
    """Returns the user's factors: passkeys, confirmed apps, recovery codes, each the oldest first. Three statements."""
    return [factor for model in FACTOR_MODELS for factor in model.objects.of(user) if is_complete(factor)]


def is_complete(factor: Factor) -> bool:
    """Returns whether the factor can be used: false for an app whose first code was not entered."""
    return not isinstance(factor, AuthenticatorApp) or factor.confirmed_at is not None


def get_factor(user: User, pk: UUID) -> Factor | None:
    """Returns the user's factor with this id, or None. At most three statements."""
    for model in FACTOR_MODELS:
        if factor := model.objects.of(user).filter(pk=pk).first():
            return factor if is_complete(factor) else None
    return None


# Add


def passkey_options(user: User, sid: UUID | None, *, is_conditional: bool = False) -> passkeys.Json:
    """
    Returns a `step` and the options of navigator.credentials.create() as `publicKey`. The step is bound to the sign-in
    `sid`. `is_conditional`: for a conditional create after a sign-in by password. Two statements.
    """
    user_handle = passkeys.user_handle_of(user)
    step, challenge = second_step.begin(
        second_step.Purpose.ADD_PASSKEY,
        user,
        sid=sid,
        handle=urlsafe_base64_encode(user_handle),
        is_conditional=is_conditional,
    )
    return {"step": step, "publicKey": passkeys.creation_options(challenge, user, user_handle)}


def add_passkey_by_step(
    user: User, sid: UUID | None, step_token: str, credential: passkeys.Json, name: str = ""
) -> tuple[Passkey, list[str]]:
    """
    Adds the passkey that answers passkey_options(), and consumes the step. Returns it, and new recovery codes if it is
    the user's first factor. Raises StepNotValid and FactorRefused.
    """
    step = second_step.read(step_token, second_step.Purpose.ADD_PASSKEY, sid=sid, user=user)
    passkey = passkeys.verify_new(credential, step.challenge, is_conditional=step.extra["is_conditional"])
    step.consume()
    return passkey, add_passkey(user, passkey, urlsafe_base64_decode(step.extra["handle"]), name)


def add_passkey(user: User, passkey: Passkey, user_handle: bytes, name: str = "") -> list[str]:
    """
    Saves a passkey that passkeys.verify_new() has returned. `user_handle` is the one in its options. Returns new
    recovery codes if it is the user's first factor, otherwise []. Raises FactorRefused and StepNotValid.
    """
    passkey.user, passkey.user_handle, passkey.name = user, user_handle, name
    codes, hashes = _first_codes(user)
    with _lock(user):
        others = list(Passkey.objects.of(user).values_list("user_handle", flat=True))
        if len(others) >= passkeys.MAX_PASSKEYS:
            raise FactorRefused(_("This account has the maximum number of passkeys."), "too_many_factors")
        if others and bytes(others[0]) != user_handle:
            # Two browsers have added the first passkey at the same time.
            raise StepNotValid
        try:
            with transaction.atomic():
                passkey.save(force_insert=True)
        except IntegrityError as error:
            raise FactorRefused(_("This passkey is already added."), "passkey_exists") from error
        return _record_added(user, passkey, codes, hashes)


def new_app(user: User, name: str = "") -> tuple[AuthenticatorApp, bytes]:
    """
    Returns a new app and its secret. It is no factor until confirm_app(). The user's other unconfirmed apps are
    deleted. Raises FactorRefused.
    """
    app = AuthenticatorApp(user=user, name=name)
    secret = totp.new_secret(app)
    with _lock(user):
        AuthenticatorApp.objects.of(user).filter(confirmed_at=None).delete()
        if AuthenticatorApp.objects.of(user).count() >= MAX_APPS:
            raise FactorRefused(_("This account has the maximum number of authenticator apps."), "too_many_factors")
        app.save(force_insert=True)
    return app, secret


def unconfirmed_app(user: User) -> AuthenticatorApp | None:
    """Returns the app that new_app() has returned lately, while it is not confirmed. One statement."""
    since = timezone.now() - UNCONFIRMED_APP_AGE
    app: AuthenticatorApp | None = (
        AuthenticatorApp.objects.of(user).filter(confirmed_at=None, created_at__gt=since).first()
    )
    return app


def confirm_app(user: User, pk: UUID, code: str) -> list[str]:
    """
    Confirms an app by its first code. Returns new recovery codes if it is the user's first factor, otherwise []. Raises
    FactorRefused for a wrong code, and AuthenticatorApp.DoesNotExist.
    """
    app: AuthenticatorApp = AuthenticatorApp.objects.of(user).get(pk=pk, confirmed_at=None)
    if totp.matching_step(app, code) is None:
        raise FactorRefused(_("The code is wrong. Check the time of your device."), "code_wrong")
    codes, hashes = _first_codes(user)
    with _lock(user):
        if not totp.confirm(app, code):
            raise FactorRefused(_("The code is wrong. Check the time of your device."), "code_wrong")
        return _record_added(user, app, codes, hashes)


def make_recovery_codes(user: User) -> list[str]:
    """Replaces the user's recovery codes, and returns the new ones. Raises FactorRefused without a second factor."""
    codes, hashes = recovery_codes.new_codes()
    with _lock(user):
        if User.objects.filter(pk=user.pk).without_second_factor().exists():
            raise FactorRefused(_("Add a passkey or an authenticator app first."), "no_second_factor")
        recovery_codes.replace(user, hashes)
        SecurityEvent.objects.record(SecurityEvent.Type.RECOVERY_CODES_MADE, user)
        user.notify("recovery_codes_made")
    return codes


# Rename and remove


def rename(factor: Factor, name: str) -> None:
    """Renames a factor, and records it. Two statements."""
    factor.name = name
    if type(factor).objects.filter(pk=factor.pk).update(name=name):
        SecurityEvent.objects.record(
            SecurityEvent.Type.FACTOR_RENAMED, factor.user, factor=str(factor.pk), factor_kind=factor.KIND
        )


def remove(user: User, factor: Factor, keep: SignIn | None = None) -> None:
    """
    Removes a factor of the user. With the last passkey or app, the recovery codes are deleted, and all sign-ins but
    `keep` end. Staff pass no `keep`: the removal then ends all sign-ins.
    """
    with _lock(user):
        if not type(factor).objects.of(user).filter(pk=factor.pk).delete()[0]:
            return
        _record_removed(user, factor)
        is_last = User.objects.filter(pk=user.pk).without_second_factor().exists()
        if is_last:
            RecoveryCodeSet.objects.of(user).delete()
        if is_last or keep is None:
            ending.end_all(user, SignIn.Reason.FACTOR_REMOVED, keep)


def remove_all(user: User) -> int:
    """
    Removes all factors of the user, and ends all sign-ins. Returns how many factors were removed. A sign-in that starts
    with this instance may follow, if nothing else has ended all sign-ins since its password was verified.
    """
    with _lock(user):
        is_current = User.objects.filter(pk=user.pk, generation=user.generation).exists()
        factors = factors_of(user)
        for factor in factors:
            _record_removed(user, factor)
        for model in FACTOR_MODELS:
            model.objects.of(user).delete()
        if factors:
            ending.end_all(user, SignIn.Reason.FACTOR_REMOVED)
            if is_current:
                user.refresh_from_db(fields=["generation"])
    return len(factors)


@contextmanager
def _lock(user: User) -> Iterator[None]:
    """A transaction in which the user's row is locked. Raises AccountChanged for a user who was deactivated."""
    with transaction.atomic():
        if not User.objects.filter(pk=user.pk, is_active=True).lock().values_list("pk", flat=True):
            raise AccountChanged
        yield


def _first_codes(user: User) -> tuple[list[str], list[str]]:
    """Recovery codes and their hashes if the user has no second factor yet. Hashed before the row is locked."""
    if User.objects.filter(pk=user.pk).without_second_factor().exists():
        return recovery_codes.new_codes()
    return [], []


def _record_added(user: User, factor: Factor, codes: list[str], hashes: list[str]) -> list[str]:
    SecurityEvent.objects.record(SecurityEvent.Type.FACTOR_ADDED, user, factor=str(factor.pk), factor_kind=factor.KIND)
    user.notify("factor_added", factor=factor._meta.verbose_name)
    # A sign-in whose password was verified before the factor was added is refused.
    User.objects.filter(pk=user.pk).update(generation=models.F("generation") + 1)
    user.refresh_from_db(fields=["generation"])
    if not codes or RecoveryCodeSet.objects.of(user).exists():
        return []
    recovery_codes.replace(user, hashes)
    SecurityEvent.objects.record(SecurityEvent.Type.RECOVERY_CODES_MADE, user)
    return codes


def _record_removed(user: User, factor: Any) -> None:
    SecurityEvent.objects.record(
        SecurityEvent.Type.FACTOR_REMOVED, user, factor=str(factor.pk), factor_kind=factor.KIND
    )
    user.notify("factor_removed", factor=factor._meta.verbose_name)
