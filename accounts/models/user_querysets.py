"""Query set and manager of users: a new password or a deactivation ends sign-ins in the same transaction."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.contrib.auth.models import UserManager
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connections, models, transaction
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.http import urlsafe_base64_decode

from accounts import hashing, look_alikes, names
from accounts.changed_columns import ChangedColumnsQuerySet
from accounts.compiled_queries import chunks
from accounts.http import request_context
from accounts.models.attempts import AttemptCounter
from accounts.models.choices import EndReason, EventType
from accounts.models.events import SecurityEvent
from accounts.models.factors import has_second_factor
from accounts.models.profiles import profile_model
from accounts.models.sign_ins import SignIn
from accounts.pruning import BATCH_SIZE, PrunableQuerySet, referred_to

# Transactions to delete an account: other requests may insert rows that refer to it meanwhile.
DELETION_TRIES = 5
RAISED_GENERATION = models.F("generation") + 1


class NullIfBlank(models.Func):
    """NULL for an empty text: unique constraints ignore it. A literal, so that SQLite finds the index."""

    function = "NULLIF"
    template = "%(function)s(%(expressions)s, '')"
    arity = 1


def retry_deletion(delete: Callable[[], tuple[int, dict[str, int]]], using: str) -> tuple[int, dict[str, int]]:
    """
    Calls `delete` in a transaction, and again, at most DELETION_TRIES times, if another request has just inserted a row
    that refers to the account. In an outer transaction it calls it once. Raises IntegrityError after the last try.
    """
    for _try in range(DELETION_TRIES - 1):
        try:
            with transaction.atomic(using=using):
                return delete()
        except IntegrityError:
            if connections[using].in_atomic_block:
                raise
    with transaction.atomic(using=using):
        return delete()


class UserQuerySet(ChangedColumnsQuerySet[Any], PrunableQuerySet[Any]):
    """Selections of users, and changes that end their sign-ins in the same transaction."""

    # A change of one of these fields may end sign-ins.
    DECISIVE_FIELDS = frozenset({"is_active", "is_service", "password"})
    # What notices read of a user.
    FIELDS_OF_NOTICES = ("username", "email", "email_confirmed_at", "is_service", "delete_after")

    def lock(self) -> Self:
        """Locks the rows until the end of the transaction. Sign-ins that start wait, and then read the new values."""
        # no_key, since FOR UPDATE also waits for inserts of events and sign-ins that refer to the user.
        return self.order_by("pk").select_for_update(no_key=True)

    def manageable_by(self, staff: Any) -> Self:
        """Returns the users that a staff member may manage: only superusers may manage superusers."""
        return self if staff.is_superuser else self.filter(is_superuser=False)

    def with_resettable_password(self) -> Self:
        """Returns the users whose User.may_reset_password is true."""
        have_mailbox = self.filter(is_active=True, is_service=False, delete_after=None).exclude(email="")
        return have_mailbox.exclude(password__startswith=UNUSABLE_PASSWORD_PREFIX)

    def with_live_sign_ins(self) -> Self:
        """Returns the users with a live sign-in."""
        return self.filter(models.Exists(SignIn.objects.live().filter(user=models.OuterRef("pk"))))

    def without_second_factor(self) -> Self:
        """Returns the users with neither a passkey nor an authenticator app, disabled ones included."""
        return self.exclude(has_second_factor())

    def with_second_factor(self) -> Self:
        """Returns the users with a passkey or an authenticator app, disabled ones included."""
        return self.filter(has_second_factor())

    def with_login(self, name: str) -> Self:
        """Returns the users with this username or e-mail address, ignoring case. Two look-ups by index."""
        return self.alias(lower_name=Lower("username"), lower_email=Lower(NullIfBlank("email"))).filter(
            models.Q(lower_name=look_alikes.folded(name)) | models.Q(lower_email=names.address(name))
        )

    def get_by_login(self, name: str) -> Any:
        """
        Returns the user with this e-mail address or username, ignoring case, or None. One statement. In older data one
        account's username may be another's address; then a confirmed address takes precedence, then a username.
        """

        def rank(user: Any) -> int:
            if names.same(user.email, names.address(name)) and user.email_confirmed_at:
                return 0
            return 1 if names.same(user.username, name) else 2

        return min(self.with_login(name)[:2], key=rank, default=None)

    def update(self, **values: Any) -> int:
        """As Django's. A new password, a deactivation or a change to a service ends the sign-ins of these users."""
        if not self.DECISIVE_FIELDS & values.keys():
            return super().update(**values)
        values["generation"] = self._raised_if_changed(values)
        with self.end_sign_ins_on_change() as before:
            return sum(models.QuerySet.update(self.filter(pk__in=ids), **values) for ids in chunks(list(before)))

    update.alters_data = True  # type: ignore[attr-defined]

    @classmethod
    def _raised_if_changed(cls, values: Mapping[str, Any]) -> models.Case:
        """Returns the new generation for an UPDATE with these values: raised if it changes a row so that it ends."""
        before_change = {"is_active": models.Q(is_active=True), "is_service": models.Q(is_service=False)}
        changes = [
            models.When(before_change.get(name, models.Q()) & ~models.Q((name, values[name])), then=RAISED_GENERATION)
            for name in sorted(cls.DECISIVE_FIELDS & values.keys())
        ]
        return models.Case(*changes, default=models.F("generation"), output_field=models.BigIntegerField())

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """As Django's. Raises ValueError for an upsert of one of DECISIVE_FIELDS."""
        if self.DECISIVE_FIELDS & set(kwargs.get("update_fields") or ()):
            raise ValueError("Use bulk_update(): an upsert does not report whose password or status it changed.")
        return super().bulk_create(objs, *args, **kwargs)

    def delete(self) -> tuple[int, dict[str, int]]:
        """As Django's. Ends the sign-ins of these users first."""

        def delete() -> tuple[int, dict[str, int]]:
            self._end_before_deletion()
            return super(UserQuerySet, self).delete()

        return retry_deletion(delete, self.db)

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def get_by_token(self, uid: str, fits: Callable[[Any], bool]) -> Any:
        """Returns the active user of a link for whom `fits(user)` is true, or None."""
        try:
            user = self.get(pk=urlsafe_base64_decode(uid).decode("ascii"), is_active=True, is_service=False)
        except (ValueError, OverflowError, ValidationError, self.model.DoesNotExist):
            return None
        return user if fits(user) else None

    def prunable(self) -> Self:
        """Returns expired throw-away accounts, and accounts that signed up and were neither confirmed nor used."""
        return self.filter(models.Q(delete_after__lte=timezone.now()) | self._never_used()).order_by("pk")

    def _never_used(self) -> models.Q:
        """Excludes imported accounts, accounts that staff created, and accounts to which rows of other tables refer."""
        signed_up_before = timezone.now() - max(settings.UNCONFIRMED_KEEP, settings.SIGN_IN_MAX)
        ordinary = models.Q(is_active=True, is_staff=False, is_superuser=False, is_service=False)
        # Their rows do not show that the account is used.
        unimportant = {SignIn, SecurityEvent, AttemptCounter, profile_model()}
        # A node of an earlier release sets last_login but does not clear unused_since.
        unused = models.Q(last_login=None) | models.Q(last_login=models.F("unused_since"))
        return (
            models.Q(unused_since__lt=signed_up_before, email_confirmed_at=None)
            & ordinary
            & unused
            & ~referred_to(self.model, except_by=unimportant)
        )

    def _delete_for_good(self, batch: list[int]) -> None:
        # By delete(), since a user may be signed in and has dependent rows.
        self.model._default_manager.using(self.db).filter(pk__in=batch).delete()

    def start_generation(self) -> None:
        """
        Refuses the sign-ins that are starting, and cancels pending changes of the address, since a thief may have
        requested one. Two statements if no change is pending.
        """
        self.update(generation=RAISED_GENERATION)
        self._cancel_email_changes()

    start_generation.alters_data = True  # type: ignore[attr-defined]

    def _cancel_email_changes(self) -> None:
        for user in self.exclude(new_email=""):
            user.cancel_email_change()

    def _end_before_deletion(self) -> None:
        """
        Ends the sign-ins of these users, and mails a notice. FOR UPDATE blocks inserts of sessions that refer to the
        sign-ins: they fail after the deletion, which would otherwise fail itself.
        """
        users = list(self.lock().only(*self.FIELDS_OF_NOTICES))
        for user in users:
            user.notify("account_deleted", is_by_another=request_context.is_by_another_user(user))
        for ids in chunks([user.pk for user in users]):
            sign_ins = SignIn.objects.using(self.db).filter(user__in=ids)
            list(sign_ins.order_by("pk").select_for_update().values_list("pk", flat=True))
            sign_ins.end(EndReason.USER_DELETED)
            sign_ins.announce_before_deletion()

    def start_generation_in_batches(self, size: int = BATCH_SIZE) -> Iterator[int]:
        """As start_generation(), with one transaction for each batch of users. Yields the size of each batch."""
        last = 0
        while True:
            with transaction.atomic(using=self.db):
                batch = list(self.filter(pk__gt=last).lock().values_list("pk", flat=True)[:size])
                self.model._default_manager.using(self.db).filter(pk__in=batch).start_generation()
            if not batch:
                return
            yield len(batch)
            last = batch[-1]

    @contextmanager
    def end_sign_ins_on_change(self, keep: uuid.UUID | None = None, event: str = "") -> Iterator[dict[int, Any]]:
        """
        Context manager for a change of these users. Ends the sign-ins of users that the block deactivates, makes
        services or gives a new password (all but `keep`), records events, and mails notices. Yields the users before
        the change, by id, with locked rows. The block raises `generation` in the UPDATE that changes them: after an
        UPDATE that does not, a database trigger ends the sign-ins.
        """
        with transaction.atomic(using=self.db):
            all_users = self.model._base_manager.using(self.db)
            before = {user.pk: user for user in self.lock().only(*self.DECISIVE_FIELDS, "generation")}
            yield before
            after = [user for ids in chunks(list(before)) for user in all_users.filter(pk__in=ids)]
            changed = [user for user in after if user.password != before[user.pk].password]
            deactivated = [user for user in after if before[user.pk].is_active and not user.is_active]
            reactivated = [user for user in after if user.is_active and not before[user.pk].is_active]
            services = [user for user in after if user.is_service and not before[user.pk].is_service]
            self._end_sign_ins(deactivated, EndReason.USER_DEACTIVATED)
            self._end_sign_ins(services, EndReason.ENDED_BY_STAFF)
            self._end_sign_ins(changed, EndReason.PASSWORD_CHANGED, keep)
            for user in deactivated:
                SecurityEvent.objects.record(EventType.USER_DEACTIVATED, user)
            for user in reactivated:
                SecurityEvent.objects.record(EventType.USER_REACTIVATED, user)
            for user in changed:
                SecurityEvent.objects.record(event or EventType.PASSWORD_CHANGED, user)
                user.notify(event or "password_changed")

    def _end_sign_ins(self, users: Sequence[Any], reason: str, keep: uuid.UUID | None = None) -> None:
        for ids in chunks([user.pk for user in users]):
            sign_ins = SignIn.objects.using(self.db).filter(user__in=ids)
            (sign_ins.exclude(pk=keep) if keep else sign_ins).end(reason)
            self.model._default_manager.using(self.db).filter(pk__in=ids)._cancel_email_changes()


class AccountManager(UserManager.from_queryset(UserQuerySet)):  # type: ignore[misc]
    def get_by_natural_key(self, username: str | None) -> Any:
        """As Django's, ignoring case. Django's commands use it to check whether a name is taken."""
        user: Any = self.alias(lower_name=Lower("username")).get(lower_name=look_alikes.folded(username or ""))
        return user

    def _create_user_object(self, username: str, email: str | None, password: str | None, **fields: Any) -> Any:
        # Django's method hashes without a slot and calls no check_names(). createsuperuser prints a ValidationError.
        user: Any = super()._create_user_object(username, email, None, **fields)
        user.check_names()
        user.password = hashing.hashed(password)
        return user

    def get_by_email(self, email: str) -> Any:
        """Returns the user with this e-mail address, ignoring case, or None. One statement."""
        return self.alias(lower=Lower(NullIfBlank("email"))).filter(lower=names.address(email)).first()
