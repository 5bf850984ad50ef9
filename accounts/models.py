"""Who people are, where they are signed in, and what happened: the rules of staying signed in live here."""

import logging
import secrets
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from itertools import chain
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple, Self

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.contrib.auth.models import AbstractUser, UserManager
from django.contrib.auth.validators import ASCIIUsernameValidator
from django.contrib.sessions.base_session import AbstractBaseSession, BaseSessionManager
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import RegexValidator
from django.db import DEFAULT_DB_ALIAS, IntegrityError, connection, connections, models, transaction
from django.db.models.functions import Cast, Coalesce, Greatest, JSONObject, Lower, Now
from django.db.models.signals import pre_delete
from django.dispatch import receiver
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.http import urlsafe_base64_decode
from django.utils.translation import gettext_lazy as _

from accounts import devices, hashing, links, locks, mail, names, notices, origin, sids
from accounts.changed_columns import ChangedColumnsModel, ChangedColumnsQuerySet
from accounts.pruning import BATCH, REQUEST_SECONDS, PrunableQuerySet, in_time, referred_to
from accounts.rows import CompiledQuery, CompiledUpdate, from_fields, parts
from accounts.signals import all_ended, events_recorded, sign_ins_ended

log = logging.getLogger("accounts.events")

# What happens to more sign-ins at once is one line of the log.
LINES_PER_CHANGE = 20
LAST_SEEN_PRECISION = timedelta(minutes=5)
THROW_AWAY_LIFETIME = timedelta(days=1)
# Sign-ins of one user that end in one step. Few have more than a handful.
MANY = 1000
# Of an account, to which other requests may refer meanwhile.
DELETION_TRIES = 5
# Deleted in one statement: a second or so.
SESSIONS = 100_000
# Up to so many rows are counted one by one. Of more, PostgreSQL counts those on one page in a hundred.
COUNTED_SIGN_INS = 200_000
SAMPLE = 100
# How many of somebody's last sign-ins tell which devices are theirs.
DEVICES_REMEMBERED = 100


class SignInRefused(PermissionDenied):
    """The account was ended, changed or deactivated while somebody signed in to it: the end wins."""


class KeyNeeded(SignInRefused):
    """Tokens of this user must be bound to a key of the client's."""


class AccountChanged(PermissionDenied):
    """What was proved about the account a moment ago holds no longer."""


class RefreshRefused(Exception):
    """The refresh token's sign-in has ended, or the token itself was used up."""


def _begun_again(delete: Callable[[], tuple[int, dict[str, int]]], using: str) -> tuple[int, dict[str, int]]:
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


class UserQuerySet(ChangedColumnsQuerySet["User"], PrunableQuerySet["User"]):
    # Changing one of these changes who may come in.
    DECISIVE_FIELDS = frozenset({"is_active", "password"})

    def lock(self) -> Self:
        """Holds the rows until the end of the transaction: sign-ins to these users wait, and then see what changed."""
        # Not FOR UPDATE, which would also wait for events and sign-ins that merely refer to the user.
        return self.order_by("pk").select_for_update(no_key=True)

    def within_reach_of(self, staff: "User") -> Self:
        """Those to whom that member of staff may do anything: a superuser is touched by superusers only."""
        return self if staff.is_superuser else self.filter(is_superuser=False)

    def that_may_reset_password(self) -> Self:
        """As User.may_reset_password."""
        have_mailbox = self.filter(is_active=True, is_service=False, delete_after=None).exclude(email="")
        return have_mailbox.exclude(password__startswith=UNUSABLE_PASSWORD_PREFIX)

    def signed_in_somewhere(self) -> Self:
        return self.filter(models.Exists(SignIn.objects.live().filter(user=models.OuterRef("pk"))))

    def called(self, name: str) -> Self:
        """Whose username or e-mail address that is, in whatever case. Two look-ups by index."""
        return self.alias(lower_name=Lower("username"), lower_email=Lower("email")).filter(
            models.Q(lower_name=name.lower()) | models.Q(lower_email=names.address(name))
        )

    def by_name(self, name: str) -> "User | None":
        """
        The user with that e-mail address or username, in whatever case. One statement. Where an account from before
        that rule has another's address for its username, a confirmed address comes first, then a username.
        """

        def rank(user: User) -> int:
            if names.same(user.email, names.address(name)) and user.email_confirmed_at:
                return 0
            return 1 if names.same(user.username, name) else 2

        return min(self.called(name)[:2], key=rank, default=None)

    def update(self, **values: Any) -> int:
        if not self.DECISIVE_FIELDS & values.keys():
            return super().update(**values)
        with self.ending_sign_ins() as users:
            return sum(models.QuerySet.update(self.filter(pk__in=ids), **values) for ids in parts(users))

    update.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable["User"], *args: Any, **kwargs: Any) -> list["User"]:
        if self.DECISIVE_FIELDS & set(kwargs.get("update_fields") or ()):
            raise ValueError("Use bulk_update(): an upsert does not tell whose password or activity it changed.")
        return super().bulk_create(objs, *args, **kwargs)

    def delete(self) -> tuple[int, dict[str, int]]:
        def delete() -> tuple[int, dict[str, int]]:
            self._end_before_deletion()
            return super(UserQuerySet, self).delete()

        return _begun_again(delete, self.db)

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def by_link(self, uid: str, fits: Callable[["User"], bool]) -> "User | None":
        """Whose link this is; None if it is nobody's, was used, or is out of date."""
        try:
            user = self.get(pk=urlsafe_base64_decode(uid).decode("ascii"), is_active=True, is_service=False)
        except (ValueError, OverflowError, ValidationError, User.DoesNotExist):
            return None
        return user if fits(user) else None

    def past_keeping(self) -> Self:
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
            & ~referred_to(self.model, except_by={SignIn, SecurityEvent, Lock})
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
        for ids in parts(users):
            sign_ins = SignIn.objects.using(self.db).filter(user__in=ids)
            list(sign_ins.order_by("pk").select_for_update().values_list("pk", flat=True))
            sign_ins.end(SignIn.Reason.USER_DELETED)
            sign_ins.tell_before_deletion()

    def raise_generations(self, size: int = BATCH) -> Iterator[int]:
        """Refuses the sign-ins that are under way, a transaction to a batch. Yields how many users each held."""
        last = 0
        while True:
            with transaction.atomic(using=self.db):
                batch = list(self.filter(pk__gt=last).lock().values_list("pk", flat=True)[:size])
                User.objects.using(self.db).filter(pk__in=batch).start_generation()
            if not batch:
                return
            yield len(batch)
            last = batch[-1]

    @contextmanager
    def ending_sign_ins(self, keep: uuid.UUID | None = None, event: str = "") -> Iterator[list[int]]:
        """
        Around a change to these users: ends the sign-ins of those whom it deactivates or gives another password,
        and records it. A new password leaves the sign-in `keep` alone. Yields the ids of the users, whose rows stay
        locked until all is done.
        """
        with transaction.atomic(using=self.db):
            everyone = self.model._base_manager.using(self.db)
            before = {user.pk: user for user in self.lock().only(*self.DECISIVE_FIELDS)}
            yield list(before)
            after = [user for ids in parts(list(before)) for user in everyone.filter(pk__in=ids)]
            changed = [user for user in after if user.password != before[user.pk].password]
            deactivated = [user for user in after if before[user.pk].is_active and not user.is_active]
            reactivated = [user for user in after if user.is_active and not before[user.pk].is_active]
            self._end_sign_ins(deactivated, SignIn.Reason.USER_DEACTIVATED)
            self._end_sign_ins(changed, SignIn.Reason.PASSWORD_CHANGED, keep)
            for user in deactivated:
                SecurityEvent.objects.record(SecurityEvent.Type.USER_DEACTIVATED, user)
            for user in reactivated:
                SecurityEvent.objects.record(SecurityEvent.Type.USER_REACTIVATED, user)
            for user in changed:
                SecurityEvent.objects.record(event or SecurityEvent.Type.PASSWORD_CHANGED, user)
                user.notify(event or "password_changed")

    def _end_sign_ins(self, users: Sequence["User"], reason: str, keep: uuid.UUID | None = None) -> None:
        for ids in parts([user.pk for user in users]):
            sign_ins = SignIn.objects.using(self.db).filter(user__in=ids)
            (sign_ins.exclude(pk=keep) if keep else sign_ins).end(reason)
            User.objects.using(self.db).filter(pk__in=ids).start_generation()


class AccountManager(UserManager.from_queryset(UserQuerySet)):  # type: ignore[misc]
    def get_by_natural_key(self, username: str | None) -> "User":
        """Django's commands ask by it whether a name is taken."""
        user: User = self.alias(lower_name=Lower("username")).get(lower_name=(username or "").lower())
        return user

    def _create_user_object(self, username: str, email: str | None, password: str | None, **fields: Any) -> "User":
        # Django's hashes without a slot and does not compare names. createsuperuser shows a ValidationError in words.
        user: User = super()._create_user_object(username, email, None, **fields)
        User.check_names(user)
        user.password = hashing.hashed(password)
        return user

    def sign_up(self, username: str, email: str, password: str) -> "User":
        """As count_sign_up() and then make_account()."""
        self.count_sign_up()
        return self.make_account(username, email, password)

    def count_sign_up(self) -> None:
        """
        To be called before it is looked up whether a name is taken, which the answer says. Raises Locked if too many
        were asked for from there, or are being made.
        """
        hashing.check_flood()
        Lock.objects.take(locks.sign_ups(origin.ip_address()))

    def make_account(self, username: str, email: str, password: str) -> "User":
        """
        Makes an account for a sign-up that was counted, and mails a link to confirm its address. Raises
        ValidationError, by field, for a name or address that is taken; the caller has validated the password.
        """
        user = self.model(username=username, email=self.normalize_email(email), unused_since=timezone.now())
        user.is_signing_up = True
        user.full_clean(exclude=["password"])
        user.set_password(password)
        try:
            with transaction.atomic():
                user.save(force_insert=True)
                SecurityEvent.objects.record(SecurityEvent.Type.SIGNED_UP, user)
                user.ask_confirmation()
        except IntegrityError:
            # Somebody else took the name between the check and the insert: say so as the check would have.
            user.pk = None
            user.full_clean()
            raise
        return user

    def make_throw_away(self, username: str, password: str) -> "User":
        """Makes an account for somebody who is only trying. It has no mailbox, and goes after a day. Raises Locked."""
        hashing.check_flood()
        Lock.objects.take(locks.sign_ups(origin.ip_address()))
        user = self.model(
            username=username,
            # RFC 2606: an address that never exists.
            email=f"{username}@throw-away.invalid",
            delete_after=timezone.now() + THROW_AWAY_LIFETIME,
        )
        user.set_password(password)
        with transaction.atomic():
            user.save(force_insert=True)
            SecurityEvent.objects.record(SecurityEvent.Type.SIGNED_UP, user)
        return user

    def delete_outlived(self) -> int:
        """Deletes the throw-away accounts whose day is over. Returns how many."""
        outlived = self.filter(delete_after__lte=timezone.now())
        return outlived.delete()[1].get(self.model._meta.label, 0)

    def by_email(self, email: str) -> "User | None":
        return self.alias(lower=Lower("email")).filter(lower=names.address(email)).first()

    def make_service(self, name: str, scopes: Iterable[str]) -> tuple["User", str]:
        """Makes a service account, and a password of 256 random bits. Raises ValidationError, by field."""
        # No mail ever goes there (RFC 2606): an account without an address of its own could have no second one.
        user = self.model(username=name, email=f"{name}@service.invalid", is_service=True, scopes=" ".join(scopes))
        password = secrets.token_urlsafe(32)
        user.set_password(password)
        user.full_clean()
        user.save(force_insert=True)
        return user, password

    def ask_password_reset(self, email: str) -> None:
        """
        Mails a link, good once and for an hour, if the address is somebody's; the caller cannot tell. A few in an hour:
        more is no help to its owner.
        """
        try:
            Lock.objects.take(locks.reset_mails(email, origin.ip_address()))
        except locks.Locked:
            return
        user = self.by_email(email)
        SecurityEvent.objects.record(SecurityEvent.Type.PASSWORD_RESET_ASKED, user)
        if user and user.may_reset_password:
            user.mail_reset_link()

    def by_reset_link(self, uid: str, token: str) -> "User | None":
        return self.by_link(uid, lambda user: links.password_reset.check_token(user, token))

    def by_confirmation_link(self, uid: str, token: str) -> "User | None":
        return self.by_link(uid, lambda user: links.email_confirmation.check_token(user, token))

    def by_used_confirmation_link(self, uid: str, token: str) -> "User | None":
        """Whose address this link has confirmed already; None for any other link, a forged or old one too."""
        return self.by_link(uid, lambda user: links.email_confirmation.has_confirmed(user, token))

    def confirm_email(self, uid: str, token: str) -> "User":
        """
        Gives an account the address that its link was mailed to. Raises AccountChanged if the link is good no more, or
        the address has become somebody else's.
        """
        try:
            with transaction.atomic():
                user = self.lock().by_link(uid, lambda user: links.email_confirmation.check_token(user, token))
                if user is None:
                    raise AccountChanged
                user._take_confirmed_address()
        except IntegrityError as error:
            raise AccountChanged from error
        return user


def check_scopes(scopes: str) -> None:
    if unknown := set(scopes.split()) - set(User.Scope.values):
        raise ValidationError(_("Unknown scopes: %(scopes)s"), params={"scopes": " ".join(sorted(unknown))})


class User(ChangedColumnsModel, AbstractUser):
    class Scope(models.TextChoices):
        INTROSPECT = "introspect", _("introspect tokens")

    username = models.CharField(
        _("username"),
        max_length=150,
        unique=True,
        help_text=_("Letters, digits and @ . + - _ only."),
        # ASCII, so that no two accounts look alike.
        validators=[ASCIIUsernameValidator()],
        error_messages={"unique": _("A user with that username already exists.")},
    )
    email = models.EmailField(
        _("e-mail address"),
        validators=[
            RegexValidator(
                names.PLAIN_ADDRESS, _("Enter an e-mail address in plain ASCII, without quotes, brackets or comments.")
            )
        ],
    )
    is_service = models.BooleanField(
        _("service account"),
        default=False,
        db_default=False,
        help_text=_("This account belongs to a service, not a person. It can sign in only through the API."),
    )
    scopes = models.CharField(
        _("scopes"),
        max_length=200,
        blank=True,
        default="",
        db_default="",
        validators=[check_scopes],
        help_text=_("Scopes of a service account, separated by spaces: introspect."),
    )
    bound_tokens_only = models.BooleanField(
        _("bound tokens only"),
        default=False,
        db_default=False,
        help_text=_("Clients receive tokens only with a DPoP proof. The tokens are bound to the key of that proof."),
    )
    # Null: nobody has shown yet that they read mail there.
    email_confirmed_at = models.DateTimeField(null=True, editable=False)
    # Takes the place of the address once it is confirmed.
    new_email = models.EmailField(blank=True, default="", db_default="", editable=False)
    # Rises whenever sign-ins are ended wholesale, so that one that is under way just then does not slip past.
    generation = models.PositiveBigIntegerField(default=0, editable=False)
    # Set for accounts that somebody made only to try the project.
    delete_after = models.DateTimeField(null=True, editable=False)
    # When the account signed up by page or API. Null from its first use on, and for all other accounts.
    unused_since = models.DateTimeField(null=True, editable=False)

    # Of the instance that sign_up() returns: the sign-in that comes with the sign-up is no use of the account.
    is_signing_up = False

    objects: ClassVar[AccountManager] = AccountManager()

    REQUIRED_FIELDS = ["email"]
    TAKEN = {"username_taken": "username", "email_taken": "email"}
    EMAIL_TAKEN = _("A user with that e-mail address already exists.")

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        # Related managers, cascades and Model.save() go the same way as everybody else.
        base_manager_name = "objects"
        permissions = [
            ("deactivate_user", "Can deactivate and reactivate users"),
            ("send_password_reset", "Can send password resets to users"),
        ]
        constraints = [
            models.UniqueConstraint(
                Lower("username"),
                name="username_case_insensitive",
                violation_error_code="username_taken",
                violation_error_message=_("A user with that username already exists."),
            ),
            models.UniqueConstraint(
                Lower("email"),
                name="email_case_insensitive",
                violation_error_code="email_taken",
                violation_error_message=_("A user with that e-mail address already exists."),
            ),
        ]

    def save(self, **options: Any) -> None:
        """
        Writes the columns that changed. A new password ends all sign-ins but the one whose request sets it, as Django's
        PasswordChangeView does. Raises AccountChanged if the password is not what it was when this instance read it.
        """
        columns = self.columns_to_update(**options)
        if columns is None or not UserQuerySet.DECISIVE_FIELDS & set(columns):
            return super().save(**options)
        same_row = User.objects.filter(pk=self.pk)
        keep = origin.sid_of(self) if "password" in columns else None
        self._save_ending_sign_ins(same_row, keep=keep, **options)

    def _save_ending_sign_ins(
        self, unchanged: UserQuerySet, keep: uuid.UUID | None = None, event: str = "", **options: Any
    ) -> None:
        """Saves if the row, once locked, is among `unchanged` and has the password that this instance read."""
        if "password" in self._stored:
            unchanged = unchanged.filter(password=self._stored["password"])
        with transaction.atomic():
            with unchanged.ending_sign_ins(keep=keep, event=event) as locked:
                if not locked:
                    raise AccountChanged
                ended_meanwhile = not unchanged.filter(generation=self.generation).exists()
                super().save(**options)
                if keep:
                    # The sign-in's session and tokens go on with the new password.
                    self.sign_ins.filter(pk=keep).update(auth_hash=self.get_session_auth_hash())
            if not ended_meanwhile:
                # login() may follow: what has ended since this instance was read, it has ended itself.
                self.refresh_from_db(fields=["generation"])

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        pk = self.pk

        def delete() -> tuple[int, dict[str, int]]:
            # Django takes it from the instance before the transaction has committed.
            self.pk = pk
            User.objects.filter(pk=pk)._end_before_deletion()
            return super(User, self).delete(*args, **kwargs)

        return _begun_again(delete, self._state.db or DEFAULT_DB_ALIAS)

    def refresh_from_db(self, using: str | None = None, fields: Any = None, from_queryset: Any = None) -> None:
        """
        Loads every field at once when a deferred one is read, and those that were not deferred too:
        what a token claims may be out of date (Django: "Refreshing objects from database").
        """
        if fields is not None and self.get_deferred_fields() & set(fields):
            # What the caller has set stays, as it does where Django loads the deferred field alone.
            fields = [name for name in user_columns() if name not in self.changed_columns()]
        super().refresh_from_db(using, fields, from_queryset=from_queryset)

    def is_within_reach_of(self, staff: Any) -> bool:
        """As UserQuerySet.within_reach_of(), for one user."""
        return staff.is_superuser or not self.is_superuser

    @property
    def needs_bound_tokens(self) -> bool:
        required = settings.DPOP_REQUIRED
        return self.bound_tokens_only or required == "all" or (required == "staff" and self.is_staff)

    def has_scope(self, scope: str) -> bool:
        return self.is_service and scope in self.scopes.split()

    @property
    def is_throw_away(self) -> bool:
        return self.delete_after is not None

    def with_all_fields(self) -> Self:
        """
        Itself, with what the database says in place of what a token claimed. One statement, if any; raises
        User.DoesNotExist.
        """
        if self.get_deferred_fields():
            row = _user_row.first(self.pk)
            if row is None:
                raise User.DoesNotExist
            changes = {name: getattr(self, name) for name in self.changed_columns()}
            vars(self).update(zip(user_columns(), row, strict=True))
            self.note_stored()
            vars(self).update(changes)
        return self

    def clean_one_field(self, name: str) -> None:
        """As full_clean(), for one field: what may be in it, and whether it is taken. One statement at most."""
        others = {field.name for field in self._meta.fields} - {name}
        self.clean_fields(exclude=others)
        self.validate_constraints(exclude=others)

    def validate_constraints(self, exclude: Any = None) -> None:
        """As Django's, but says at which field a name is taken, and see check_names()."""
        try:
            super().validate_constraints(exclude)
            if not {"username", "email"} & set(exclude or ()):
                self.check_names()
        except ValidationError as error:
            by_field: dict[str, list[ValidationError]] = {}
            for field, errors in error.error_dict.items():
                for each in errors:
                    by_field.setdefault(self.TAKEN.get(each.code or "", field), []).append(each)
            raise ValidationError(by_field) from error

    def check_names(self) -> None:
        """
        Raises ValidationError where a name of this account signs in to another: an address that is another's username,
        a username that is another's address or, if it is new, looks like an address that is not this account's own.
        """
        others = User.objects.exclude(pk=self.pk)
        if others.alias(lower_name=Lower("username")).filter(lower_name=names.address(self.email)).exists():
            raise ValidationError({"email": ValidationError(self.EMAIL_TAKEN, code="email_taken")})
        if names.same(self.username, self.email) or not names.is_address(self.username):
            return
        is_kept = User.objects.filter(pk=self.pk, username=self.username).exists()
        if not is_kept or others.called(self.username).exists():
            text = _("A username in the form of an e-mail address must be the account's own e-mail address.")
            raise ValidationError({"username": ValidationError(text, code="username_is_address")})

    def set_password(self, raw_password: str | None) -> None:
        """As Django's. In a request it takes a slot (accounts.hashing) and raises Busy."""
        self.password = hashing.hashed(raw_password)
        self._password = raw_password

    def check_password(self, raw_password: str) -> bool:
        """As set_password(); a hash that is upgraded on the way is still the same password, so sign-ins go on."""
        return hashing.is_right(raw_password, self.password, self._upgrade_password_hash)

    async def acheck_password(self, raw_password: str) -> bool:
        return await sync_to_async(self.check_password)(raw_password)

    def guess_password(self, raw_password: str) -> bool:
        """Whether this is the password of somebody who is signed in already. Raises Locked after too many guesses."""
        guess = Lock.objects.take(locks.inside(self))
        with guess.turn(known=f"user {self.pk}"):
            is_right = self.check_password(raw_password)
        if is_right:
            guess.was_right()
            return True
        guess.was_wrong(self)
        return False

    def _upgrade_password_hash(self, raw_password: str) -> None:
        old_password, old_hash = self.password, self.get_session_auth_hash()
        self.set_password(raw_password)
        self._password = None
        with transaction.atomic():
            upgraded = models.QuerySet.update(
                User._base_manager.filter(pk=self.pk, password=old_password), password=self.password
            )
            if upgraded:
                self.sign_ins.filter(auth_hash=old_hash).update(auth_hash=self.get_session_auth_hash())
                self.note_stored(["password"])

    @property
    def has_mailbox(self) -> bool:
        """Throw-away and service accounts have addresses that cannot exist (RFC 2606)."""
        return bool(self.email) and not self.is_throw_away and not self.is_service

    @property
    def may_reset_password(self) -> bool:
        return self.is_active and self.has_mailbox and self.has_usable_password()

    def send_password_reset(self) -> None:
        """Staff ask for it in the user's place."""
        SecurityEvent.objects.record(SecurityEvent.Type.PASSWORD_RESET_ASKED, self)
        if self.may_reset_password:
            self.mail_reset_link()

    def mail_reset_link(self) -> None:
        """Good once and for an hour."""
        link = links.url("password_reset_confirm", self, links.password_reset)
        mail.send_later("password_reset", self, link=link)

    @property
    def address_to_confirm(self) -> str:
        """Empty if there is none."""
        if not self.has_mailbox:
            return ""
        return self.new_email or ("" if self.email_confirmed_at else self.email)

    def ask_confirmation(self) -> None:
        """
        Mails a link, good once and for an hour, to the address that is to be confirmed; nothing, and the caller cannot
        tell, if a few were in this hour.
        """
        try:
            Lock.objects.take(locks.confirmation_mails(self, self.address_to_confirm))
        except locks.Locked:
            return
        link = links.url("email_confirm", self, links.email_confirmation)
        mail.send_later("confirm_email", self, to=self.address_to_confirm, link=link)

    def ask_email_change(self, new_email: str) -> None:
        """
        The address changes when the link mailed to it is followed. Raises ValidationError for one that is taken,
        Locked, and AccountChanged if the sign-ins of the account were ended since this instance was read.
        """
        if not self.has_mailbox:
            raise ValidationError(_("The e-mail address of this account cannot be changed."), code="no_mailbox")
        Lock.objects.take(locks.address_changes(self, origin.ip_address()))
        new_email = User._meta.get_field("email").clean(User.objects.normalize_email(new_email), self)
        if new_email == self.email:
            raise ValidationError(_("This is already your e-mail address."), code="email_same")
        if User.objects.called(new_email).exclude(pk=self.pk).exists():
            raise ValidationError(self.EMAIL_TAKEN, code="email_taken")
        with transaction.atomic():
            # Whatever ends the sign-ins drops a pending change: one that was under way must not come after it.
            unchanged = User.objects.filter(pk=self.pk, password=self.password, generation=self.generation)
            pending = unchanged.filter(is_active=True).lock().values_list("new_email", flat=True).first()
            if pending is None:
                raise AccountChanged
            self.new_email = new_email
            self.save(update_fields=["new_email"])
            if pending != new_email:
                SecurityEvent.objects.record(SecurityEvent.Type.EMAIL_CHANGE_ASKED, self)
                self.notify("email_change_asked", new_address=new_email)
            self.ask_confirmation()

    def cancel_email_change(self) -> bool:
        """The link that was mailed to the new address dies. Returns whether a change was pending."""
        with transaction.atomic():
            was_pending = bool(User.objects.filter(pk=self.pk).exclude(new_email="").update(new_email=""))
            self.new_email = ""
            if was_pending:
                SecurityEvent.objects.record(SecurityEvent.Type.EMAIL_CHANGE_CANCELLED, self)
        return was_pending

    def _take_confirmed_address(self) -> None:
        old_email = self.email if self.new_email else ""
        if User.objects.called(self.address_to_confirm).exclude(pk=self.pk).exists():
            raise AccountChanged
        was_confirmed = self.email_confirmed_at is not None
        self.email, self.new_email = self.new_email or self.email, ""
        self.email_confirmed_at = timezone.now()
        self.save(update_fields=["email", "new_email", "email_confirmed_at"])
        if not old_email:
            SecurityEvent.objects.record(SecurityEvent.Type.EMAIL_CONFIRMED, self)
            return
        SecurityEvent.objects.record(SecurityEvent.Type.EMAIL_CHANGED, self)
        if was_confirmed:
            self.notify("email_changed", to=old_email, new_address=self.email)

    def notify(self, notice: str, to: str = "", **words: Any) -> None:
        """
        Mails what happened to the account: to its address if that is confirmed, or to `to`, an address of it that was.
        A few in an hour, and what is beyond that as one (accounts.notices).
        """
        notices.send_later(notice, self, Lock.objects.take, to, **words)

    def change_password(self, new_password: str, keep: "SignIn | None" = None) -> None:
        """
        Changes the password that was just verified on this instance; every sign-in but `keep` ends.
        Raises AccountChanged if another request has changed it since, and Busy.
        """
        # Before the row is locked: this may wait for a slot.
        new_hash = hashing.hashed(new_password)
        with transaction.atomic():
            self._replace_password(new_hash, SecurityEvent.Type.PASSWORD_CHANGED, keep.pk if keep else None)
            if keep:
                keep.auth_hash = self.get_session_auth_hash()
                keep.note_proof()

    def reset_password(self, new_password: str) -> None:
        """
        Gives a new password to somebody who just proved to own the address; every sign-in ends.
        Raises AccountChanged if the link was used up meanwhile, and Busy.
        """
        new_hash = hashing.hashed(new_password)
        with transaction.atomic():
            # The link came by mail, to the address that this instance has.
            of_address = User.objects.filter(pk=self.pk, email=self.email)
            self.email_confirmed_at = self.email_confirmed_at or timezone.now()
            if not of_address.update(email_confirmed_at=Coalesce("email_confirmed_at", self.email_confirmed_at)):
                raise AccountChanged
            self.note_stored(["email_confirmed_at"])
            self._replace_password(new_hash, SecurityEvent.Type.PASSWORD_RESET)
            # Nobody has guessed at this password yet.
            Lock.objects.of(self).lift()

    def _replace_password(self, new_hash: str, event: str, keep: uuid.UUID | None = None) -> None:
        # A link that was mailed to an address is good only while the address is the account's.
        unchanged = User.objects.filter(pk=self.pk, email=self.email, is_active=True)
        self.password = new_hash
        self._save_ending_sign_ins(unchanged, keep=keep, event=event, update_fields=["password"])
        # As it is in the row now.
        self.new_email = ""
        self.note_stored(["new_email"])


class Ended(NamedTuple):
    """How many sign-ins ended, and how many are left for the next request."""

    ended: int
    left: int = 0


class SignInQuerySet(ChangedColumnsQuerySet["SignIn"], PrunableQuerySet["SignIn"]):
    def live(self) -> Self:
        now = timezone.now()
        return self.filter(ended_at__isnull=True, expires_at__gt=now, created_at__gt=now - settings.SIGN_IN_MAX)

    def over_since(self, moment: datetime) -> Self:
        """Those that ended or ran out after that moment, the last first."""
        now = timezone.now()
        ran_out = models.Q(ended_at=None, expires_at__gt=moment, expires_at__lte=now)
        over_at = Coalesce("ended_at", "expires_at")
        return self.filter(models.Q(ended_at__gt=moment) | ran_out).order_by(over_at.desc(), "pk")

    def current_first(self, current: "SignIn") -> Self:
        is_other = models.Case(models.When(pk=current.pk, then=0), default=1)
        return self.order_by(is_other, "-last_seen_at", "pk")

    def devices(self) -> set[tuple[str, devices.Device]]:
        """Kinds and devices of the newest sign-ins. One statement."""
        seen = self.order_by("-created_at").values_list("kind", "user_agent")[:DEVICES_REMEMBERED]
        return {(kind, devices.of(user_agent)) for kind, user_agent in seen}

    def within_reach_of(self, staff: User) -> Self:
        """As for users: a superuser's are ended by superusers only."""
        return self if staff.is_superuser else self.filter(user__is_superuser=False)

    def counted_by_kind(self) -> "models.QuerySet[SignIn, tuple[str, int]]":
        return self.order_by().values_list("kind").annotate(models.Count("pk"))

    def by_kind(self) -> dict[str, int]:
        """How many there are of each."""
        return dict(self.counted_by_kind())

    def unended(self) -> Self:
        return self.filter(ended_at__isnull=True)

    def is_many(self) -> bool:
        """Whether more have not ended than end in one step."""
        return self.unended()[: MANY + 1].count() > MANY

    def past_keeping(self) -> Self:
        """Ended or, if nobody ended them, out of date however much they were used, SIGN_IN_KEEP_DAYS ago."""
        kept_since = timezone.now() - settings.SIGN_IN_KEEP
        ended = models.Q(ended_at__lt=kept_since)
        return self.filter(ended | models.Q(ended_at=None, created_at__lt=kept_since - settings.SIGN_IN_MAX)).order_by()

    def _delete_for_good(self, batch: list[uuid.UUID]) -> None:
        Session.objects.using(self.db).filter(sign_in__in=batch).delete()
        super()._delete_for_good(batch)

    def end(self, reason: str) -> int:
        """Ends those that have not ended, and all that hangs on them. Returns how many."""
        with transaction.atomic(using=self.db):
            ended = list(self._lock_unended())
            if ended:
                self._end_locked(ended, reason)
                sign_ins_ended.send(sender=self.model, sign_ins=ended)
        return len(ended)

    def tell_before_deletion(self) -> None:
        """Sends `sign_ins_ended` of those whose access tokens may be unexpired, since their rows are about to go."""
        may_have_tokens = timezone.now() - settings.ACCESS_TOKEN - settings.JWT_LEEWAY
        just_deleted = models.Q(end_reason=SignIn.Reason.USER_DELETED)
        if recent := list(self.filter(~just_deleted, ended_at__gt=may_have_tokens)):
            sign_ins_ended.send(sender=self.model, sign_ins=recent)

    def _lock_unended(self) -> Self:
        return self.filter(ended_at__isnull=True).order_by("pk").select_for_update(of=("self",), no_key=True)

    def _end_locked(self, ended: Sequence[Any], reason: str) -> None:
        now = timezone.now()
        for ids in parts([sign_in.pk for sign_in in ended]):
            models.QuerySet.update(
                self.model._base_manager.using(self.db).filter(pk__in=ids),
                ended_at=now,
                end_reason=reason,
                ended_by=origin.actor(),
            )
            Session.objects.using(self.db).filter(sign_in__in=ids).delete()
        SecurityEvent.objects.record_ends(ended, reason)

    end.alters_data = True  # type: ignore[attr-defined]

    def end_in_batches(self, reason: str, size: int = 1000) -> Iterator[int]:
        """
        Ends, as end() does, those that are there when it begins, a transaction to a batch: no lock is held for long,
        and no list fills the memory. Yields how many each batch ended; may be left after any, and begun again.
        """
        for batch in self._unended_batches(size):
            yield batch.end(reason)

    end_in_batches.alters_data = True  # type: ignore[attr-defined]

    def end_told_in_batches(self, reason: str, size: int = BATCH) -> Iterator[int]:
        """As end_in_batches(), for those of which `all_ended` was sent: they are not told one by one."""
        for batch in self._unended_batches(size):
            with transaction.atomic(using=self.db):
                # No more of them than is told: there may be a million.
                rows: Any = batch._lock_unended().values_list("pk", "user_id", "kind", named=True)
                ended = list(rows)
                self._end_locked(ended, reason)
            yield len(ended)

    end_told_in_batches.alters_data = True  # type: ignore[attr-defined]

    def _unended_batches(self, size: int) -> Iterator[Self]:
        # The newest first: a browser that was just signing in brings its session after the others' sessions are gone.
        unended = self.filter(ended_at__isnull=True).order_by("-pk")
        batch = list(unended.values_list("pk", flat=True)[:size])
        while batch:
            yield self.filter(pk__in=batch)
            batch = list(unended.filter(pk__lt=batch[-1]).values_list("pk", flat=True)[:size])

    def update(self, **values: Any) -> int:
        """An end that did not come by end() is announced, too. It is final."""
        if "ended_at" not in values:
            return super().update(**values)
        if values["ended_at"] is None:
            raise ValueError("A sign-in that has ended cannot go on: an end is final.")
        with transaction.atomic(using=self.db):
            ended = list(self.filter(ended_at__isnull=True))
            updated = super().update(**values)
            sign_ins_ended.send(sender=self.model, sign_ins=ended)
            return updated

    update.alters_data = True  # type: ignore[attr-defined]

    def last_expiry_of_refresh_tokens(self, made_before: datetime) -> datetime | None:
        """When the last of the good refresh tokens that were made up to then expires; None if there are none."""
        clients = self.live().filter(kind=SignIn.Kind.CLIENT, refreshed_at__lte=made_before)
        latest: datetime | None = clients.aggregate(models.Max("expires_at"))["expires_at__max"]
        return latest


class SignInManager(models.Manager.from_queryset(SignInQuerySet)):  # type: ignore[misc]
    def live_by_kind(self) -> tuple[dict[str, int], bool]:
        """How many are live, and whether that is exact. Two statements at most."""
        live = self.live()
        if connection.vendor != "postgresql":
            # SQLite has no samples, and no millions.
            return live.by_kind(), True
        with connection.cursor() as cursor:
            table = self.model._meta.db_table
            cursor.execute("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [table])
            if cursor.fetchone()[0] <= COUNTED_SIGN_INS:
                return live.by_kind(), True
            sql, parameters = live.counted_by_kind().query.sql_with_params()
            # The same pages each time, so that the figure changes with the sign-ins only.
            sample = f'FROM "{table}" TABLESAMPLE SYSTEM ({100 / SAMPLE}) REPEATABLE (1)'
            cursor.execute(sql.replace(f'FROM "{table}"', sample), parameters)
            return {kind: count * SAMPLE for kind, count in cursor.fetchall()}, False

    def start(
        self,
        user: User,
        kind: str,
        idle_timeout: timedelta,
        audience: str = "",
        name: str = "",
        bound_to: str = "",
        proved_at: datetime | None = None,
    ) -> "SignIn":
        """
        Signs in a user whose password was just verified on this instance, or at `proved_at`. Four statements.
        Raises SignInRefused if the account was changed, ended everywhere or deactivated since, and KeyNeeded.
        """
        if user.is_service and kind == SignIn.Kind.BROWSER:
            raise SignInRefused
        if kind == SignIn.Kind.CLIENT and user.needs_bound_tokens and not bound_to:
            raise KeyNeeded
        now = timezone.now()
        is_first = user.last_login is None
        with transaction.atomic():
            # Takes the row lock that every wholesale end takes too: one of the two comes first and the other sees it.
            unused_since = now if user.is_signing_up else None
            unchanged = User._base_manager.filter(
                pk=user.pk, is_active=True, password=user.password, generation=user.generation
            ).update(last_login=now, unused_since=unused_since)
            if not unchanged:
                raise SignInRefused
            user.last_login, user.unused_since = now, unused_since
            known = self.filter(user=user.pk).devices()
            sign_in = self.create(
                id=sids.new(now),
                user=user,
                kind=kind,
                name=name,
                user_agent=origin.user_agent(),
                ip_address=origin.ip_address(),
                auth_hash=user.get_session_auth_hash(),
                created_at=now,
                last_seen_at=now,
                proved_at=proved_at or now,
                refreshed_at=now,
                idle_timeout=idle_timeout,
                expires_at=now + min(idle_timeout, settings.SIGN_IN_MAX),
                audience=audience,
                bound_to=bound_to,
            )
            SecurityEvent.objects.record(SecurityEvent.Type.SIGNED_IN, user, sign_in, kind=kind)
            if name or not (is_first or sign_in.is_on_one_of(known)):
                user.notify("new_device", client=name, is_named=bool(name), kind=kind)
        return sign_in

    def rotate(self, find: Callable[[], "SignIn | None"], refresh_id: uuid.UUID) -> "SignIn":
        """
        Uses up a refresh token of the sign-in that `find` reads by one statement; it then has the id of its successor:
        the same one for every use within the grace period. Two statements, no lock held. Raises RefreshRefused; a token
        presented later is theft.
        """
        now = timezone.now()
        while True:
            sign_in = find()
            if sign_in is None or not sign_in.is_live(now):
                raise RefreshRefused
            if refresh_id == sign_in.refresh_id:
                if sign_in.swap_refresh_id(now):
                    return sign_in
                # Somebody else rotated it, or ended it, between the two statements: look again.
                continue
            if sign_in.was_just_rotated_from(refresh_id, now):
                return sign_in
            sign_in.end_as_stolen()
            raise RefreshRefused

    def end_all(self, user: User, reason: str, keep: "SignIn | None" = None) -> int:
        """
        Ends all sign-ins of a user, or all but `keep`, and those that are under way. Returns how many. In one step or,
        of a user with a great many, in batches: see end_others() and _end_many().
        """
        if keep:
            return self.end_others(user, reason, keep).ended
        sign_ins = self.filter(user_id=user.pk)
        return self._end_many(user, reason) if sign_ins.is_many() else self._end_in_one_step(user, sign_ins, reason)

    def end_others(self, user: User, reason: str, keep: "SignIn") -> Ended:
        """
        Ends all sign-ins of a user but `keep`, which goes on all the time, and those that are under way. Of a user with
        a great many: those older than `keep` at once, and of the newer ones as many as REQUEST_SECONDS allow.
        """
        others = self.filter(user_id=user.pk).exclude(pk=keep.pk)
        if not others.is_many():
            return Ended(self._end_in_one_step(user, others, reason))
        now, started = sids.just_after(timezone.now()), sids.started_at(keep.pk)
        # A moment tells of a sign-in by its id: one that does not name its start has nothing older.
        older, newer = others.filter(created_at__lt=started), others.filter(created_at__gte=started)
        with transaction.atomic():
            User.objects.filter(pk=user.pk).start_generation()
            shut_out = older.unended().count()
            self._shut_out(started, user)
            # By a node whose clock is ahead. None is new, while the user's row is locked.
            ahead = newer.filter(created_at__gte=now).end(reason)
        begun = newer.filter(created_at__lt=now)
        ended, is_all = in_time(begun.end_in_batches(reason), REQUEST_SECONDS)
        if is_all:
            in_time(older.end_told_in_batches(reason), REQUEST_SECONDS)
        return Ended(shut_out + ahead + ended, 0 if is_all else begun.unended().count())

    def _end_in_one_step(self, user: User, sign_ins: SignInQuerySet, reason: str) -> int:
        with transaction.atomic():
            User.objects.filter(pk=user.pk).start_generation()
            return sign_ins.end(reason)

    def _end_many(self, user: User, reason: str) -> int:
        """All of them are refused after the first step; rows that are not marked in time are left to `prune`."""
        ended = self.filter(user_id=user.pk).unended().count()
        marked, is_all = in_time(self.end_all_in_batches(user, reason), REQUEST_SECONDS)
        return marked if is_all else max(ended, marked)

    def end_all_in_batches(self, user: User, reason: str) -> Iterator[int]:
        """
        As end_all(), for somebody with a great many: from the first step on no token or session of theirs works, and
        none that is under way will; the rows follow in batches. Yields how many each ended.
        """
        with transaction.atomic():
            User.objects.filter(pk=user.pk).start_generation()
            # Read while the row is locked: whoever starts afterwards sees the new generation.
            before = sids.just_after(timezone.now())
            self._shut_out(before, user)
            # By a node whose clock is ahead: the moment does not tell of them. None is new, while the row is locked.
            ahead = self.filter(user_id=user.pk, created_at__gte=before).end(reason)
        yield ahead
        yield from self.filter(user_id=user.pk, created_at__lt=before).end_told_in_batches(reason)

    def end_before(self, moment: datetime, reason: str) -> Iterator[int]:
        """
        Ends everybody's that started up to a moment, which is past: no token or session of theirs works from the first
        step on, the rows follow in batches. Yields how many each ended.
        """
        before = sids.just_after(moment)
        with transaction.atomic():
            self._shut_out(before)
        yield 0
        yield from self.filter(created_at__lt=before).end_told_in_batches(reason)

    def end_everything(self, reason: str) -> Iterator[int]:
        """
        Ends everybody's. No token or session works from the first step on; the second refuses all sign-ins under way,
        whose password was verified before; then the rows follow in batches. Yields how many each ended.
        """
        with transaction.atomic():
            self._shut_out(sids.just_after(timezone.now()))
        yield 0
        for _users in User.objects.raise_generations():
            yield 0
        yield from self.end_up_to_now(reason)

    def end_up_to_now(self, reason: str) -> Iterator[int]:
        """
        Ends everybody's but those under way. Nobody is in from the second step on: the first ends those that were
        started by a node whose clock is ahead, of which the moment does not tell. Yields how many each ended.
        """
        now = timezone.now()
        ahead = list(self.filter(created_at__gt=now).values_list("pk", flat=True))
        yield self.filter(pk__in=ahead).end(reason)
        yield from self.end_before(now, reason)

    def _shut_out(self, before: datetime, user: User | None = None) -> None:
        """In few statements, whatever their number: those that started before then let nobody in any more."""
        all_ended.send(sender=self.model, before=before, user=user)
        started = self.filter(created_at__lt=before)
        sign_ins = started.filter(user_id=user.pk) if user else started
        sessions = Session.objects.using(self.db).filter(sign_in__in=sign_ins)
        # A statement of a request is given up after DATABASE_TIMEOUT_SECONDS, and all of them are of one transaction.
        while sessions.filter(pk__in=sessions.values("pk")[:SESSIONS])._raw_delete(self.db) == SESSIONS:
            pass


@cache
def user_columns() -> list[str]:
    return [field.attname for field in User._meta.concrete_fields]


_user_row = CompiledQuery(lambda: User._base_manager.filter(pk=0).values_list(*user_columns()))


class SignIn(ChangedColumnsModel):
    """One place where a user is signed in: a browser, or a client (a family of tokens)."""

    class Kind(models.TextChoices):
        BROWSER = "browser", _("browser")
        CLIENT = "client", _("client")

    class Reason(models.TextChoices):
        SIGNED_OUT = "signed_out", _("signed out")
        ENDED_BY_USER = "ended_by_user", _("ended by the user")
        ENDED_BY_STAFF = "ended_by_staff", _("ended by staff")
        PASSWORD_CHANGED = "password_changed", _("password changed")
        USER_DEACTIVATED = "user_deactivated", _("account deactivated")
        USER_DELETED = "user_deleted", _("account deleted")
        TOKEN_REUSED = "token_reused", _("refresh token used twice")

    id = models.UUIDField(primary_key=True, default=sids.new, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sign_ins")
    kind = models.CharField(max_length=10, choices=Kind)
    name = models.CharField(
        _("name"),
        max_length=60,
        blank=True,
        default="",
        db_default="",
        help_text=_("Name that the user gave the client."),
    )
    user_agent = models.CharField(max_length=origin.USER_AGENT_MAX_LENGTH, blank=True)
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    # Fingerprint of the password it was opened with: whoever changes that, even by raw SQL, ends the sign-in.
    auth_hash = models.CharField(max_length=128, editable=False)

    created_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    # When the password was last given in it.
    proved_at = models.DateTimeField(default=timezone.now, db_default=Now(), editable=False)
    idle_timeout = models.DurationField()
    expires_at = models.DateTimeField()

    # The service that its access tokens are for; blank for our own API.
    audience = models.CharField(max_length=255, blank=True, default="", db_default="", editable=False)
    # The thumbprint (RFC 7638) of the key that its tokens are bound to; blank if whoever holds them may use them.
    bound_to = models.CharField(max_length=43, blank=True, default="", db_default="", editable=False)

    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=20, choices=Reason, blank=True)
    ended_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    # Token mode: the refresh token that is good, and the one before it. Ids only, which open nothing.
    refresh_id = models.UUIDField(default=uuid.uuid4, editable=False)
    previous_refresh_id = models.UUIDField(null=True, editable=False)
    refreshed_at = models.DateTimeField(default=timezone.now, editable=False)
    # Its place in the list by which other services learn that it ended, if they are told.
    status_index = models.BigIntegerField(null=True, unique=True, editable=False)

    objects = SignInManager()

    # What decides whether it lets its user in, on every request and refresh.
    DECISIVE_FIELDS = (
        "id",
        "user_id",
        "kind",
        "auth_hash",
        "created_at",
        "last_seen_at",
        "idle_timeout",
        "expires_at",
        "ended_at",
        "refresh_id",
        "previous_refresh_id",
        "refreshed_at",
        "audience",
        "bound_to",
        "status_index",
    )

    class Meta:
        verbose_name = _("sign-in")
        base_manager_name = "objects"
        ordering = ["-last_seen_at"]
        permissions = [
            ("end_signin", "Can end sign-ins of others"),
            ("end_everyone", "Can end everyone's sign-ins, superusers' too"),
        ]
        indexes = [
            # None of these has a column that a refresh writes, so that PostgreSQL leaves all of them alone (HOT).
            models.Index(fields=["user", "-created_at"], name="sign_in_user_newest"),
            models.Index(fields=["-created_at"], name="sign_in_newest"),
            models.Index(fields=["ip_address"], name="sign_in_address"),
            models.Index(
                fields=["end_reason", "-created_at"],
                condition=models.Q(ended_at__isnull=False),
                name="sign_in_end_reason",
            ),
            # Of those that have ended alone.
            models.Index(fields=["ended_at"], condition=models.Q(ended_at__isnull=False), name="sign_in_ended_at"),
        ]

    def __str__(self) -> str:
        return f"{self.label}, {self.get_kind_display()}"

    def save(self, **options: Any) -> None:
        """Writes the columns that changed. An end by this way is announced like any other, and is final."""
        columns = self.columns_to_update(**options)
        may_end = self.ended_at is not None if columns is None else "ended_at" in columns
        if not may_end:
            return super().save(**options)
        with transaction.atomic():
            if columns and not SignIn.objects.filter(pk=self.pk).unended().select_for_update(no_key=True).exists():
                raise ValueError("A sign-in that has ended cannot go on: an end is final.")
            super().save(**options)
            if self.ended_at is not None:
                sign_ins_ended.send(sender=SignIn, sign_ins=[self])

    @classmethod
    def columns(cls, path: str = "") -> list[str]:
        """For values_list(): what from_columns() takes, where `path` leads to the sign-in ("sign_in__")."""
        return [f"{path}{name}" for name in cls.DECISIVE_FIELDS] + [f"{path}user__{name}" for name in user_columns()]

    @classmethod
    def from_columns(cls, values: Sequence[Any]) -> "SignIn":
        """With its user; what does not decide is deferred."""
        sign_in = from_fields(cls, zip(cls.DECISIVE_FIELDS, values, strict=False))
        user = from_fields(User, zip(user_columns(), values[len(cls.DECISIVE_FIELDS) :], strict=True))
        sign_in._state.fields_cache["user"] = user
        return sign_in

    @property
    def sid(self) -> uuid.UUID:
        return self.pk

    @property
    def device(self) -> str:
        return devices.name(self.user_agent)

    @property
    def label(self) -> str:
        """What its user calls it, or else the device in words."""
        return self.name or self.device

    @property
    def icon(self) -> str:
        return devices.of(self.user_agent).icon

    def is_on_one_of(self, known: Iterable[tuple[str, devices.Device]]) -> bool:
        device = devices.of(self.user_agent)
        return any(kind == self.kind and device.is_like(each) for kind, each in known)

    @property
    def over_at(self) -> datetime:
        return self.ended_at or self.expires_at

    @property
    def why_over(self) -> str:
        """In words."""
        if self.ended_at:
            return str(self.get_end_reason_display())
        return str(_("maximum duration reached") if self.expires_at >= self.latest_end else _("unused for too long"))

    @property
    def latest_end(self) -> datetime:
        """However much it is used, it lasts no longer."""
        return self.created_at + settings.SIGN_IN_MAX

    def is_live(self, now: datetime | None = None) -> bool:
        """Whether it still lets its user in: neither ended nor expired, of an active user with the same password."""
        now = now or timezone.now()
        return (
            self.ended_at is None
            and now < min(self.expires_at, self.latest_end)
            and self.user.is_active
            and not (self.user.is_service and self.kind == self.Kind.BROWSER)
            and not (self.kind == self.Kind.CLIENT and self.user.needs_bound_tokens and not self.bound_to)
            and self._is_of_same_password()
        )

    def _is_of_same_password(self) -> bool:
        hashes = chain([self.user.get_session_auth_hash()], self.user.get_session_auth_fallback_hash())
        return any(constant_time_compare(self.auth_hash, each) for each in hashes)

    def is_recently_proved(self) -> bool:
        """Whether whoever uses it has just shown to know the password, as what matters most asks for."""
        return timezone.now() - self.proved_at < settings.RECENT_PROOF

    def note_proof(self) -> None:
        """The password was given once more."""
        self.proved_at = timezone.now()
        SignIn.objects.filter(pk=self.pk).update(proved_at=self.proved_at)

    def rename(self, name: str) -> None:
        self.name = name
        SignIn.objects.filter(pk=self.pk).update(name=name)

    def touch(self) -> None:
        """Notes that it is in use, at most once in five minutes, and puts off its idle end."""
        now = timezone.now()
        if now - self.last_seen_at < LAST_SEEN_PRECISION:
            return
        self.last_seen_at = now
        self.expires_at = min(now + self.idle_timeout, self.latest_end)
        SignIn.objects.filter(pk=self.pk, ended_at__isnull=True).update(
            last_seen_at=self.last_seen_at, expires_at=self.expires_at
        )
        if self.user.unused_since:
            User.objects.filter(pk=self.user_id).update(unused_since=None)

    def keep(self) -> None:
        """Makes a browser's sign-in last until it is unused for BROWSER_SESSION_DAYS."""
        self.idle_timeout = settings.BROWSER_SESSION
        self.expires_at = min(self.created_at + self.idle_timeout, self.latest_end)
        SignIn.objects.filter(pk=self.pk).update(idle_timeout=self.idle_timeout, expires_at=self.expires_at)

    def end(self, reason: str) -> bool:
        """Revokes all that hangs on it, at once. Returns whether it had not ended before."""
        return bool(SignIn.objects.filter(pk=self.pk).end(reason))

    def swap_refresh_id(self, now: datetime) -> bool:
        """Compare-and-swap of the current refresh token for a successor. One statement."""
        successor = uuid.uuid4()
        expires_at = min(now + self.idle_timeout, self.latest_end)
        swapped = _swap_refresh_id.run(successor, self.refresh_id, now, now, expires_at, self.pk, self.refresh_id)
        if swapped:
            self.previous_refresh_id, self.refresh_id = self.refresh_id, successor
            self.refreshed_at = self.last_seen_at = now
            self.expires_at = expires_at
        return bool(swapped)

    def was_just_rotated_from(self, refresh_id: uuid.UUID, now: datetime) -> bool:
        return refresh_id == self.previous_refresh_id and now - self.refreshed_at < settings.REFRESH_GRACE

    def accepts_refresh(self, refresh_id: uuid.UUID) -> bool:
        """Whether that refresh token would be good now."""
        now = timezone.now()
        return self.is_live(now) and (refresh_id == self.refresh_id or self.was_just_rotated_from(refresh_id, now))

    def end_as_stolen(self) -> None:
        """A used-up refresh token came back: two hold this family, so it ends (RFC 9700, section 4.14.2)."""
        with transaction.atomic():
            if self.end(self.Reason.TOKEN_REUSED):
                SecurityEvent.objects.record(SecurityEvent.Type.TOKEN_REUSED, self.user, self)
                self.user.notify("token_reused", client=self.label)


_swap_refresh_id = CompiledUpdate(
    "accounts.SignIn",
    fields=["refresh_id", "previous_refresh_id", "refreshed_at", "last_seen_at", "expires_at"],
    where=["id", "refresh_id"],
    null=["ended_at"],
)


@receiver(pre_delete, sender=SignIn)
def deleting_a_sign_in_ends_it(instance: SignIn, origin: Any = None, **kwargs: Any) -> None:
    if instance.ended_at is None:
        sign_ins_ended.send(sender=SignIn, sign_ins=[instance])
    elif not isinstance(origin, User) and getattr(origin, "model", None) is not User:
        # With a user, all go at once, and were told of at once.
        SignIn.objects.filter(pk=instance.pk).tell_before_deletion()


class SessionQuerySet(PrunableQuerySet["Session"]):
    def past_keeping(self) -> Self:
        return self.filter(expire_date__lt=timezone.now())


class SessionManager(BaseSessionManager.from_queryset(SessionQuerySet)):  # type: ignore[misc]
    pass


class Session(AbstractBaseSession):
    """A browser's session. Its key is stored hashed: the table opens nothing."""

    session_key = models.CharField(_("SHA-256 of the session key"), max_length=64, primary_key=True)
    sign_in = models.ForeignKey(SignIn, null=True, on_delete=models.CASCADE, related_name="sessions")

    objects: ClassVar[SessionManager] = SessionManager()

    @classmethod
    def get_session_store_class(cls) -> type:
        from accounts.sessions import SessionStore

        return SessionStore


class SecurityEventQuerySet(PrunableQuerySet["SecurityEvent"]):
    def update(self, **values: Any) -> int:
        # Whoever deletes a user takes the name off what happened (on_delete=SET_NULL), and nothing else.
        if values.keys() <= {"user", "actor"} and not any(values.values()):
            return super().update(**values)
        raise TypeError("Security events are append-only.")

    update.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        raise TypeError("Security events are append-only.")

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def past_keeping(self) -> Self:
        return self.filter(created_at__lt=timezone.now() - settings.EVENT_KEEP)

    def prune(self, size: int = BATCH) -> Iterator[int]:
        """The one way in which events go: see PrunableQuerySet.prune()."""
        # They are written in the order of time, or nearly: the oldest come first, and no index on the time is needed.
        oldest = self.order_by("pk").select_for_update(skip_locked=True, of=("self",))
        kept_since = timezone.now() - settings.EVENT_KEEP
        while True:
            with transaction.atomic(using=self.db):
                batch = [pk for pk, at in oldest.values_list("pk", "created_at")[:size] if at < kept_since]
                self._delete_for_good(batch)
            if not batch:
                return
            yield len(batch)

    prune.alters_data = True  # type: ignore[attr-defined]


class SecurityEventManager(models.Manager.from_queryset(SecurityEventQuerySet)):  # type: ignore[misc]
    def record(self, type: str, user: User | None, sign_in: SignIn | None = None, **details: str) -> "SecurityEvent":
        """Writes what just happened, in the transaction it happened in. `details` must hold no secret."""
        event = self.compose(type, user_id=user.pk if user else None, sid=sign_in.pk if sign_in else None, **details)
        try:
            event.save(force_insert=True)
        except IntegrityError:
            # The account was deleted a moment ago. In a transaction its row is locked, so that this cannot happen.
            if connections[self.db].in_atomic_block or event.user_id is None:
                raise
            event.user_id = event.pk = None
            event.save(force_insert=True)
        self._tell_of([event])
        return event

    def record_ends(self, sign_ins: Sequence[Any], reason: str) -> None:
        """Of sign-ins, or of what is needed of them: pk, user_id and kind."""
        type = SecurityEvent.Type.SIGNED_OUT if reason == SignIn.Reason.SIGNED_OUT else SecurityEvent.Type.SIGN_IN_ENDED
        if len(sign_ins) > LINES_PER_CHANGE:
            for ids in parts([each.pk for each in sign_ins]):
                self._copy_ends(self.compose(type, None, None, reason=reason), ids)
            transaction.on_commit(partial(_tell_of_many, type, len(sign_ins)), robust=True)
            return
        events = [
            self.compose(type, user_id=each.user_id, sid=each.pk, kind=each.kind, reason=reason) for each in sign_ins
        ]
        self.bulk_create(events)
        self._tell_of(events)

    def _copy_ends(self, template: "SecurityEvent", sids: Sequence[uuid.UUID]) -> None:
        """What differs stands in the rows of the sign-ins: one statement, however many they are."""
        details = {key: Cast(models.Value(value), models.TextField()) for key, value in template.details.items()}
        own = {"user_id": "user_id", "sid": "pk", "details": JSONObject(kind="kind", **details)}
        fields = [field for field in self.model._meta.concrete_fields if not field.primary_key]
        values = [own.get(each.attname) or models.Value(getattr(template, each.attname), each) for each in fields]
        rows = SignIn.objects.using(self.db).filter(pk__in=sids).order_by().values_list(*values)
        sql, parameters = rows.query.sql_with_params()
        with connections[self.db].cursor() as cursor:
            quote = connections[self.db].ops.quote_name
            columns = ", ".join(quote(field.column) for field in fields)
            cursor.execute(f"INSERT INTO {quote(self.model._meta.db_table)} ({columns}) {sql}", parameters)

    def _tell_of(self, events: Sequence["SecurityEvent"]) -> None:
        """The log, and whoever counts, once they are sure to have happened."""
        if events:
            transaction.on_commit(partial(_tell_of, events), robust=True)

    def compose(self, type: str, user_id: int | None, sid: uuid.UUID | None, **details: str) -> "SecurityEvent":
        actor = origin.actor()
        return self.model(
            type=type,
            user_id=user_id,
            actor_id=actor.pk if actor else None,
            sid=sid,
            ip_address=origin.ip_address(),
            user_agent=origin.user_agent(),
            details=details | ({"why": why} if (why := origin.why()) else {}),
        )


def _tell_of_many(type: str, count: int) -> None:
    events_recorded.send(sender=SecurityEvent, type=type, count=count)
    log.info("%s, %d times", type, count)


def _tell_of(events: Sequence["SecurityEvent"]) -> None:
    type = events[0].type
    events_recorded.send(sender=SecurityEvent, type=type, count=len(events))
    for event in events:
        log.info(type, extra={"sid": event.sid and str(event.sid), "user_id": event.user_id})


class SecurityEvent(models.Model):
    """What happened to an account. Only ever added to."""

    class Type(models.TextChoices):
        SIGNED_UP = "signed_up", _("signed up")
        SIGNED_IN = "signed_in", _("signed in")
        SIGN_IN_FAILED = "sign_in_failed", _("sign-in failed")
        SIGNED_OUT = "signed_out", _("signed out")
        SIGN_IN_ENDED = "sign_in_ended", _("sign-in ended")
        TOKEN_REUSED = "token_reused", _("refresh token used twice")
        PASSWORD_CHANGED = "password_changed", _("password changed")
        PASSWORD_RESET_ASKED = "password_reset_asked", _("password reset requested")
        PASSWORD_RESET = "password_reset", _("password reset")
        EMAIL_CONFIRMED = "email_confirmed", _("e-mail address confirmed")
        EMAIL_CHANGE_ASKED = "email_change_asked", _("e-mail address change requested")
        EMAIL_CHANGE_CANCELLED = "email_change_cancelled", _("e-mail address change cancelled")
        EMAIL_CHANGED = "email_changed", _("e-mail address changed")
        USER_DEACTIVATED = "user_deactivated", _("account deactivated")
        LOCKED = "locked", _("locked after too many attempts")
        UNLOCKED = "unlocked", _("unlocked")
        USER_REACTIVATED = "user_reactivated", _("account reactivated")
        USER_EDITED = "user_edited", _("account edited by staff")
        RIGHTS_CHANGED = "rights_changed", _("permissions changed")
        TOKEN_REVOKED = "token_revoked", _("access token revoked")
        TOKEN_BLOCKED = "token_blocked", _("leaked token blocked")
        BLOCK_LIFTED = "block_lifted", _("token unblocked")
        EVENTS_EXPORTED = "events_exported", _("events exported")

    # What the account's owner is told.
    SENTENCES = {
        Type.SIGNED_UP: _("You created this account."),
        Type.SIGNED_IN: _("A browser signed in."),
        Type.SIGN_IN_FAILED: _("A sign-in attempt failed: wrong password."),
        Type.SIGNED_OUT: _("Signed out."),
        Type.SIGN_IN_ENDED: _("A sign-in was ended."),
        Type.TOKEN_REUSED: _("A refresh token was used twice. Its sign-in was ended."),
        Type.PASSWORD_CHANGED: _("The password was changed."),
        Type.PASSWORD_RESET_ASKED: _("A link to set a new password was requested."),
        Type.PASSWORD_RESET: _("A new password was set through the link in an e-mail."),
        Type.EMAIL_CONFIRMED: _("The e-mail address was confirmed."),
        Type.EMAIL_CHANGE_ASKED: _("A change of the e-mail address was requested."),
        Type.EMAIL_CHANGE_CANCELLED: _("The pending change of the e-mail address was cancelled."),
        Type.EMAIL_CHANGED: _("The e-mail address was changed."),
        Type.USER_DEACTIVATED: _("The account was deactivated."),
        Type.LOCKED: _("Sign-in was locked for a while after too many wrong passwords."),
        Type.UNLOCKED: _("The lock on sign-in was removed."),
        Type.USER_REACTIVATED: _("The account was reactivated."),
        Type.USER_EDITED: _("A staff member edited the account."),
        Type.RIGHTS_CHANGED: _("The account's permissions were changed."),
        Type.TOKEN_REVOKED: _("An access token was revoked by its client."),
        Type.TOKEN_BLOCKED: _("A leaked access token was blocked."),
        Type.BLOCK_LIFTED: _("An access token was unblocked."),
        Type.EVENTS_EXPORTED: _("You exported security events."),
    }
    # Of these one may say: this wasn't me.
    DISPUTABLE = {
        Type.SIGNED_IN,
        Type.PASSWORD_CHANGED,
        Type.PASSWORD_RESET,
        Type.EMAIL_CHANGE_ASKED,
        Type.EMAIL_CHANGED,
    }
    # A name, password, token or link was enough for them. A thief does not hide by being signed in elsewhere.
    BY_CREDENTIAL = {
        Type.SIGNED_UP,
        Type.SIGNED_IN,
        Type.SIGN_IN_FAILED,
        Type.LOCKED,
        Type.TOKEN_REUSED,
        Type.TOKEN_REVOKED,
        Type.PASSWORD_RESET,
        Type.EMAIL_CONFIRMED,
        Type.EMAIL_CHANGED,
    }

    type = models.CharField(max_length=30, choices=Type)
    user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="security_events")
    actor = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    sid = models.UUIDField(null=True)
    ip_address = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=origin.USER_AGENT_MAX_LENGTH, blank=True)
    details = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)

    objects = SecurityEventManager()

    class Meta:
        verbose_name = _("security event")
        base_manager_name = "objects"
        ordering = ["-id"]
        permissions = [("export_securityevent", "Can export security events")]
        indexes = [
            models.Index(fields=["user", "-id"], name="event_user_newest"),
            models.Index(fields=["sid"], name="event_sid"),
            models.Index(fields=["-created_at"], name="event_newest"),
            models.Index(fields=["type", "-created_at"], name="event_type_newest"),
            models.Index(fields=["ip_address"], name="event_address"),
        ]

    def __str__(self) -> str:
        return str(self.get_type_display())

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("Security events are append-only.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise TypeError("Security events are append-only.")

    @property
    def device(self) -> str:
        return devices.name(self.user_agent)

    @property
    def sentence(self) -> str:
        """What happened, in plain words."""
        if self.type == self.Type.SIGNED_IN and self.details.get("kind") == SignIn.Kind.CLIENT:
            return str(_("A client signed in."))
        return str(self.SENTENCES[self.Type(self.type)])

    @property
    def is_by_another(self) -> bool:
        """Whether another user did it, mostly staff: where that was from is not for the account's owner to see."""
        return self.actor_id not in (None, self.user_id) and self.Type(self.type) not in self.BY_CREDENTIAL

    @property
    def owners_ip_address(self) -> str | None:
        """The address, as far as the account's owner may see it."""
        return None if self.is_by_another else self.ip_address

    @property
    def owners_user_agent(self) -> str:
        """The user agent, as far as the account's owner may see it."""
        return "" if self.is_by_another else self.user_agent

    @property
    def owners_device(self) -> str:
        return devices.name(self.owners_user_agent)

    @property
    def reason(self) -> str:
        """Why a sign-in was ended, in words."""
        return str(dict(SignIn.Reason.choices).get(self.details.get("reason", ""), ""))

    @property
    def is_disputable(self) -> bool:
        return self.Type(self.type) in self.DISPUTABLE


@dataclass(frozen=True)
class Guess:
    """A guess that is being checked. It counts as wrong until it turns out to be right."""

    counts: list["Lock"]

    @contextmanager
    def turn(self, known: str) -> Iterator[None]:
        """A slot for hashing. If there is none, Busy is raised and the guess is taken back: it was not checked."""
        with ExitStack() as slot:
            try:
                slot.enter_context(hashing.turn(known))
            except hashing.Busy:
                self.take_back()
                raise
            yield

    def take_back(self) -> None:
        """One statement. A wait that another guess has caused meanwhile goes on."""
        now = timezone.now()
        own = max((count.until for count in self.counts), default=now)
        waits_for_others = models.When(until__gt=own, then=models.F("until"))
        Lock.objects.filter(pk__in=[count.pk for count in self.counts]).update(
            count=Greatest(models.F("count") - 1, 0), until=models.Case(waits_for_others, default=now)
        )

    def was_right(self) -> None:
        """Takes it back; a success clears the counts of its own account, never those of the address. One statement."""
        now = timezone.now()
        of_address = models.Q(kind=locks.Kind.ADDRESS)
        own = max((count.until for count in self.counts if count.kind == locks.Kind.ADDRESS), default=now)
        # Another guess from there may have made it wait since.
        waits_for_others = of_address & models.Q(until__gt=own)
        Lock.objects.filter(pk__in=[count.pk for count in self.counts]).update(
            count=models.Case(models.When(of_address, then=Greatest(models.F("count") - 1, 0)), default=0),
            until=models.Case(models.When(waits_for_others, then=models.F("until")), default=now),
        )

    def was_wrong(self, user: User | None) -> None:
        """Says so if nobody may guess for a while now."""
        locked = [count for count in self.counts if count.is_locked]
        if not locked:
            return
        with transaction.atomic():
            Lock.objects.filter(pk__in=[count.pk for count in locked if count.account]).update(user=user)
            for count in locked:
                whom = user if count.account else None
                SecurityEvent.objects.record(
                    SecurityEvent.Type.LOCKED, whom, kind=count.kind, until=count.until.isoformat(timespec="seconds")
                )


class LockQuerySet(PrunableQuerySet["Lock"]):
    def locked(self) -> Self:
        """See Lock.is_locked."""
        wait = [models.Q(kind=kind, count__gte=limit.free) for kind, limit in locks.LIMITS.items()]
        return self.filter(models.Q(*wait, _connector=models.Q.OR), until__gt=timezone.now())

    def of(self, user: User) -> Self:
        """Of whoever gave this user's name, and of the browsers where the user is known."""
        return self.filter(account__in=locks.accounts(user.username))

    def past_keeping(self) -> Self:
        now = timezone.now()
        return self.filter(until__lte=now, since__lt=now - max(limit.memory for limit in locks.LIMITS.values()))

    def lift(self) -> int:
        """Forgets these counts, so that guesses are heard again. Returns how many were locked."""
        with transaction.atomic(using=self.db):
            lifted = list(self.select_related("user").select_for_update(of=("self",)))
            self.model.objects.using(self.db).filter(pk__in=[each.pk for each in lifted]).delete()
            locked = [each for each in lifted if each.is_locked]
            for each in locked:
                SecurityEvent.objects.record(SecurityEvent.Type.UNLOCKED, each.user, kind=each.kind)
        return len(locked)

    lift.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        locks.refusals.forget()
        return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]


class LockManager(models.Manager.from_queryset(LockQuerySet)):  # type: ignore[misc]
    def take(self, sources: Sequence[locks.Source]) -> Guess:
        """
        Counts a guess before it is checked, so that guesses at the same time do not slip past. Two statements; raises
        Locked, and counts nothing, if any of its sources has to wait.
        """
        if not sources:
            return Guess([])
        locks.refusals.check(sources)
        now = timezone.now()
        # Everybody locks the rows in the same order.
        counts = [
            Lock(
                pk=source.key,
                kind=source.kind,
                account=source.account,
                ip_address=source.ip_address,
                count=0,
                since=now,
                until=now,
            )
            for source in sorted(sources, key=attrgetter("key"))
        ]
        try:
            self._add(counts, now)
        except locks.Locked:
            self._remember(counts)
            raise
        return Guess(counts)

    def _add(self, counts: list["Lock"], now: datetime) -> None:
        with transaction.atomic():
            # Makes what is missing, locks all of it and brings what is there: fields with a db_default are returned.
            self.bulk_create(counts, update_conflicts=True, unique_fields=["id"], update_fields=["kind"])
            if locked := {count.kind: count.until for count in counts if count.is_locked}:
                raise locks.Locked(max(locked.values()), by_strangers=locked.keys() == {locks.Kind.ACCOUNT})
            for count in counts:
                count.add(now)
            self.bulk_update(counts, ["count", "since", "until"])

    def _remember(self, counts: Sequence["Lock"]) -> None:
        # A transaction of the caller's may undo what was read.
        if not connections[self.db].in_atomic_block:
            for count in counts:
                if count.is_locked:
                    locks.refusals.note(count.pk, count.until)


class Lock(models.Model):
    """
    How many guesses there were from one source, and until when the next one waits. Rows, so that a Redis that lost its
    memory renews nobody's guesses; of a name that was typed, a keyed digest only.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    kind = models.CharField(max_length=10, choices=locks.Kind)
    account = models.UUIDField(_("digest of the username"), null=True, db_index=True, editable=False)
    # Whose account it is, if anybody's; known once it is locked.
    user = models.ForeignKey(User, null=True, on_delete=models.CASCADE, related_name="locks")
    ip_address = models.GenericIPAddressField(_("IP address or IPv6 network"), null=True)
    count = models.PositiveIntegerField(_("attempts"), db_default=0)
    since = models.DateTimeField(db_default=Now())
    until = models.DateTimeField(_("locked until"), db_default=Now(), db_index=True)

    objects = LockManager()

    class Meta:
        verbose_name = _("attempt counter")
        base_manager_name = "objects"
        ordering = ["-until"]
        default_permissions = ["view"]
        permissions = [("lift_lock", "Can lift locks")]

    def __str__(self) -> str:
        return self.get_kind_display()

    @property
    def limit(self) -> locks.Limit:
        return locks.limit_of(locks.Kind(self.kind), self.ip_address)

    @property
    def is_locked(self) -> bool:
        # Not by the time alone: whoever wrote it need not wait, but may have a clock ahead of ours.
        return self.count >= self.limit.free and self.until > timezone.now()

    def add(self, now: datetime) -> None:
        """One more guess."""
        if now - self.since >= self.limit.memory:
            self.count, self.since = 0, now
        self.count += 1
        self.until = now + self.limit.wait(self.count)
