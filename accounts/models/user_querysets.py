"""Query sets of users: what changes who may sign in ends sign-ins in the same transaction."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
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

from accounts import hashing, names
from accounts.changed_columns import ChangedColumnsQuerySet
from accounts.compiled_queries import chunks
from accounts.models.attempts import AttemptCounter
from accounts.models.choices import EndReason, EventType
from accounts.models.events import SecurityEvent
from accounts.models.sign_ins import SignIn
from accounts.pruning import BATCH, PrunableQuerySet, referred_to

# Of an account, to which other requests may refer meanwhile.
DELETION_TRIES = 5


def retry_deletion(delete: Callable[[], tuple[int, dict[str, int]]], using: str) -> tuple[int, dict[str, int]]:
    """
    Deletes in a transaction. An event that another request inserts meanwhile still refers to the account when that is
    to be committed: the next try finds it. Within another transaction there is one try.
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
    # Changing one of these changes who may come in.
    DECISIVE_FIELDS = frozenset({"is_active", "password"})

    def lock(self) -> Self:
        """Holds the rows until the end of the transaction: sign-ins to these users wait, and then see what changed."""
        # Not FOR UPDATE, which would also wait for events and sign-ins that merely refer to the user.
        return self.order_by("pk").select_for_update(no_key=True)

    def manageable_by(self, staff: Any) -> Self:
        """Those to whom that member of staff may do anything: a superuser is touched by superusers only."""
        return self if staff.is_superuser else self.filter(is_superuser=False)

    def with_resettable_password(self) -> Self:
        """As User.may_reset_password."""
        have_mailbox = self.filter(is_active=True, is_service=False, delete_after=None).exclude(email="")
        return have_mailbox.exclude(password__startswith=UNUSABLE_PASSWORD_PREFIX)

    def with_live_sign_ins(self) -> Self:
        return self.filter(models.Exists(SignIn.objects.live().filter(user=models.OuterRef("pk"))))

    def with_login(self, name: str) -> Self:
        """Whose username or e-mail address that is, in whatever case. Two look-ups by index."""
        return self.alias(lower_name=Lower("username"), lower_email=Lower("email")).filter(
            models.Q(lower_name=name.lower()) | models.Q(lower_email=names.address(name))
        )

    def get_by_login(self, name: str) -> Any:
        """
        The user with that e-mail address or username, in whatever case. One statement. Where an account from before
        that rule has another's address for its username, a confirmed address comes first, then a username.
        """

        def rank(user: Any) -> int:
            if names.same(user.email, names.address(name)) and user.email_confirmed_at:
                return 0
            return 1 if names.same(user.username, name) else 2

        return min(self.with_login(name)[:2], key=rank, default=None)

    def update(self, **values: Any) -> int:
        if not self.DECISIVE_FIELDS & values.keys():
            return super().update(**values)
        with self.end_sign_ins_on_change() as users:
            return sum(models.QuerySet.update(self.filter(pk__in=ids), **values) for ids in chunks(users))

    update.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        if self.DECISIVE_FIELDS & set(kwargs.get("update_fields") or ()):
            raise ValueError("Use bulk_update(): an upsert does not tell whose password or activity it changed.")
        return super().bulk_create(objs, *args, **kwargs)

    def delete(self) -> tuple[int, dict[str, int]]:
        def delete() -> tuple[int, dict[str, int]]:
            self._end_before_deletion()
            return super(UserQuerySet, self).delete()

        return retry_deletion(delete, self.db)

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def get_by_token(self, uid: str, fits: Callable[[Any], bool]) -> Any:
        """Whose link this is; None if it is nobody's, was used, or is out of date."""
        try:
            user = self.get(pk=urlsafe_base64_decode(uid).decode("ascii"), is_active=True, is_service=False)
        except (ValueError, OverflowError, ValidationError, self.model.DoesNotExist):
            return None
        return user if fits(user) else None

    def prunable(self) -> Self:
        """Throw-away accounts whose day is over, and accounts that signed up here and were never confirmed or used."""
        return self.filter(models.Q(delete_after__lte=timezone.now()) | self._never_used()).order_by("pk")

    def _never_used(self) -> models.Q:
        """Imported accounts and those that staff made are not among them, nor any that other data belongs to."""
        signed_up_before = timezone.now() - max(settings.UNCONFIRMED_KEEP, settings.SIGN_IN_MAX)
        ordinary = models.Q(is_active=True, is_staff=False, is_superuser=False, is_service=False)
        # A node of an earlier release writes last_login and leaves the mark.
        unused = models.Q(last_login=None) | models.Q(last_login=models.F("unused_since"))
        return (
            models.Q(unused_since__lt=signed_up_before, email_confirmed_at=None)
            & ordinary
            & unused
            & ~referred_to(self.model, except_by={SignIn, SecurityEvent, AttemptCounter})
        )

    def _delete_for_good(self, batch: list[int]) -> None:
        # Unlike other rows, a user may still be signed in, and has what goes along.
        self.model._default_manager.using(self.db).filter(pk__in=batch).delete()

    def start_generation(self) -> None:
        """
        Refuses the sign-ins that are under way, and drops the changes of address that wait for their confirmation: one
        that was asked for by a thief must not outlive the thief's sign-in. Two statements if none waits.
        """
        self.update(generation=models.F("generation") + 1)
        for user in self.exclude(new_email=""):
            user.cancel_email_change()

    start_generation.alters_data = True  # type: ignore[attr-defined]

    def _end_before_deletion(self) -> None:
        """
        Locks the sign-ins against rows that refer to them, too: a session that another request inserts meanwhile waits,
        and is then refused, in place of the deletion.
        """
        users = list(self.lock().values_list("pk", flat=True))
        for ids in chunks(users):
            sign_ins = SignIn.objects.using(self.db).filter(user__in=ids)
            list(sign_ins.order_by("pk").select_for_update().values_list("pk", flat=True))
            sign_ins.end(EndReason.USER_DELETED)
            sign_ins.announce_before_deletion()

    def start_generation_in_batches(self, size: int = BATCH) -> Iterator[int]:
        """Refuses the sign-ins that are under way, a transaction to a batch. Yields how many users each held."""
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
    def end_sign_ins_on_change(self, keep: uuid.UUID | None = None, event: str = "") -> Iterator[list[int]]:
        """
        Around a change to these users: ends the sign-ins of those whom it deactivates or gives another password,
        and records it. A new password leaves the sign-in `keep` alone. Yields the ids of the users, whose rows stay
        locked until all is done.
        """
        with transaction.atomic(using=self.db):
            everyone = self.model._base_manager.using(self.db)
            before = {user.pk: user for user in self.lock().only(*self.DECISIVE_FIELDS)}
            yield list(before)
            after = [user for ids in chunks(list(before)) for user in everyone.filter(pk__in=ids)]
            changed = [user for user in after if user.password != before[user.pk].password]
            deactivated = [user for user in after if before[user.pk].is_active and not user.is_active]
            reactivated = [user for user in after if user.is_active and not before[user.pk].is_active]
            self._end_sign_ins(deactivated, EndReason.USER_DEACTIVATED)
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
            self.model._default_manager.using(self.db).filter(pk__in=ids).start_generation()


class AccountManager(UserManager.from_queryset(UserQuerySet)):  # type: ignore[misc]
    def get_by_natural_key(self, username: str | None) -> Any:
        """Django's commands ask by it whether a name is taken."""
        user: Any = self.alias(lower_name=Lower("username")).get(lower_name=(username or "").lower())
        return user

    def _create_user_object(self, username: str, email: str | None, password: str | None, **fields: Any) -> Any:
        # Django's hashes without a slot and does not compare names. createsuperuser shows a ValidationError in words.
        user: Any = super()._create_user_object(username, email, None, **fields)
        user.check_names()
        user.password = hashing.hashed(password)
        return user

    def get_by_email(self, email: str) -> Any:
        return self.alias(lower=Lower("email")).filter(lower=names.address(email)).first()
