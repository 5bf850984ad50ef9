"""Who people are, where they are signed in, and what happened: the rules of staying signed in live here."""

import secrets
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.contrib.auth.models import AbstractUser, UserManager
from django.contrib.auth.tokens import default_token_generator
from django.contrib.auth.validators import ASCIIUsernameValidator
from django.contrib.sessions.base_session import AbstractBaseSession
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import RegexValidator
from django.db import IntegrityError, connection, models, transaction
from django.db.models.functions import Lower
from django.db.models.signals import pre_delete
from django.dispatch import receiver
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode
from django.utils.translation import gettext_lazy as _

from accounts import devices, mail, origin
from accounts.rows import CompiledQuery, CompiledUpdate, from_fields
from accounts.signals import sign_ins_ended

LAST_SEEN_PRECISION = timedelta(minutes=5)


class SignInRefused(PermissionDenied):
    """The account was ended, changed or deactivated while somebody signed in to it: the end wins."""


class KeyNeeded(SignInRefused):
    """Tokens of this user must be bound to a key of the client's."""


class AccountChanged(PermissionDenied):
    """What was proved about the account a moment ago holds no longer."""


class RefreshRefused(Exception):
    """The refresh token's sign-in has ended, or the token itself was used up."""


class UserQuerySet(models.QuerySet["User"]):
    # Changing one of these changes who may come in.
    DECISIVE_FIELDS = frozenset({"is_active", "password"})

    def lock(self) -> Self:
        """Holds the rows until the end of the transaction: sign-ins to these users wait, and then see what changed."""
        # Not FOR UPDATE, which would also wait for events and sign-ins that merely refer to the user.
        return self.order_by("pk").select_for_update(no_key=True)

    def update(self, **values: Any) -> int:
        if not self.DECISIVE_FIELDS & values.keys():
            return super().update(**values)
        with self.ending_sign_ins() as users:
            return models.QuerySet.update(self.filter(pk__in=users), **values)

    update.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable["User"], *args: Any, **kwargs: Any) -> list["User"]:
        if self.DECISIVE_FIELDS & set(kwargs.get("update_fields") or ()):
            raise ValueError("Use bulk_update(): an upsert does not tell whose password or activity it changed.")
        return super().bulk_create(objs, *args, **kwargs)  # type: ignore[arg-type,return-value]

    def delete(self) -> tuple[int, dict[str, int]]:
        with transaction.atomic(using=self.db):
            users = list(self.lock().values_list("pk", flat=True))
            SignIn.objects.using(self.db).filter(user__in=users).end(SignIn.Reason.USER_DELETED)
            return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    @contextmanager
    def ending_sign_ins(self, keep: "SignIn | None" = None, event: str = "") -> Iterator[list[int]]:
        """
        Around a change to these users: ends the sign-ins of those whom it deactivates or gives another password,
        and records it. `keep` goes on. Yields the ids of the users, whose rows stay locked until all is done.
        """
        with transaction.atomic(using=self.db):
            everyone = self.model._base_manager.using(self.db)
            before = {user.pk: user for user in self.lock().only(*self.DECISIVE_FIELDS)}
            yield list(before)
            after = everyone.filter(pk__in=before)
            changed = [user for user in after if user.password != before[user.pk].password]
            deactivated = [user for user in after if before[user.pk].is_active and not user.is_active]
            self._end_sign_ins(deactivated, SignIn.Reason.USER_DEACTIVATED)
            self._end_sign_ins(changed, SignIn.Reason.PASSWORD_CHANGED, keep)
            for user in deactivated:
                SecurityEvent.objects.record(SecurityEvent.Type.USER_DEACTIVATED, user)
            for user in changed:
                SecurityEvent.objects.record(event or SecurityEvent.Type.PASSWORD_CHANGED, user)
                mail.send_later("password_changed", user)

    def _end_sign_ins(self, users: Sequence["User"], reason: str, keep: "SignIn | None" = None) -> None:
        if not users:
            return
        sign_ins = SignIn.objects.using(self.db).filter(user__in=[user.pk for user in users])
        (sign_ins.exclude(pk=keep.pk) if keep else sign_ins).end(reason)
        models.QuerySet.update(
            self.model._base_manager.filter(pk__in=[user.pk for user in users]),
            generation=models.F("generation") + 1,
        )


class AccountManager(UserManager.from_queryset(UserQuerySet)):  # type: ignore[misc]
    def sign_up(self, username: str, email: str, password: str) -> "User":
        """
        Makes an account. Raises ValidationError, by field, for a name or address that is taken;
        the caller has validated the password.
        """
        user = self.model(username=username, email=self.normalize_email(email))
        user.set_password(password)
        user.full_clean()
        try:
            with transaction.atomic():
                user.save(force_insert=True)
                SecurityEvent.objects.record(SecurityEvent.Type.SIGNED_UP, user)
        except IntegrityError:
            # Somebody else took the name between the check and the insert: say so as the check would have.
            user.pk = None
            user.full_clean()
            raise
        return user

    def by_email(self, email: str) -> "User | None":
        return self.alias(lower=Lower("email")).filter(lower=email.lower()).first()

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
        """Mails a link, good once and for an hour, if the address is somebody's; the caller cannot tell."""
        user = self.by_email(email)
        SecurityEvent.objects.record(SecurityEvent.Type.PASSWORD_RESET_ASKED, user)
        if user and user.is_active and not user.is_service and user.has_usable_password():
            uid = urlsafe_base64_encode(force_bytes(user.pk))
            path = reverse("password_reset_confirm", args=[uid, default_token_generator.make_token(user)])
            mail.send_later("password_reset", user, link=origin.absolute_url(path))

    def by_reset_link(self, uid: str, token: str) -> "User | None":
        """Whose link this is; None if it is nobody's, was used, or is out of date."""
        try:
            user = self.get(pk=urlsafe_base64_decode(uid).decode("ascii"), is_active=True, is_service=False)
        except (ValueError, OverflowError, ValidationError, User.DoesNotExist):
            return None
        return user if default_token_generator.check_token(user, token) else None


def check_scopes(scopes: str) -> None:
    if unknown := set(scopes.split()) - set(User.Scope.values):
        raise ValidationError(_("Unknown scopes: %(scopes)s"), params={"scopes": " ".join(sorted(unknown))})


class User(AbstractUser):
    class Scope(models.TextChoices):
        INTROSPECT = "introspect", _("ask whether a token is good")

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
        validators=[RegexValidator(r"^[\x21-\x7e]*$", _("Enter an address in plain ASCII."))],
    )
    is_service = models.BooleanField(
        _("service account"),
        default=False,
        help_text=_("Another service, not a person: it signs in by the API only."),
    )
    scopes = models.CharField(
        _("scopes"),
        max_length=200,
        blank=True,
        validators=[check_scopes],
        help_text=_("What a service account may do, separated by spaces: introspect."),
    )
    bound_tokens_only = models.BooleanField(
        _("bound tokens only"),
        default=False,
        help_text=_("Clients get tokens only if they prove to hold a key that the tokens are then bound to (DPoP)."),
    )
    # Rises whenever sign-ins are ended wholesale, so that one that is under way just then does not slip past.
    generation = models.PositiveBigIntegerField(default=0, editable=False)

    objects: ClassVar[AccountManager] = AccountManager()

    REQUIRED_FIELDS = ["email"]
    TAKEN = {"username_taken": "username", "email_taken": "email"}

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        # Related managers, cascades and Model.save() go the same way as everybody else.
        base_manager_name = "objects"
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

    def save(self, *args: Any, **kwargs: Any) -> None:
        update_fields = kwargs.get("update_fields")
        decisive = update_fields is None or UserQuerySet.DECISIVE_FIELDS & set(update_fields)
        if self._state.adding or self.pk is None or not decisive:
            return super().save(*args, **kwargs)
        with User.objects.filter(pk=self.pk).ending_sign_ins():
            super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with transaction.atomic():
            list(User.objects.filter(pk=self.pk).lock())
            self.sign_ins.end(SignIn.Reason.USER_DELETED)
            return super().delete(*args, **kwargs)

    def refresh_from_db(self, using: str | None = None, fields: Any = None, from_queryset: Any = None) -> None:
        """
        Loads every field at once when a deferred one is read, and those that were not deferred too:
        what a token claims may be out of date (Django: "Refreshing objects from database").
        """
        if fields is not None and self.get_deferred_fields() & set(fields):
            fields = [field.attname for field in self._meta.concrete_fields]
        super().refresh_from_db(using, fields, from_queryset)

    @property
    def needs_bound_tokens(self) -> bool:
        required = settings.DPOP_REQUIRED
        return self.bound_tokens_only or required == "all" or (required == "staff" and self.is_staff)

    def has_scope(self, scope: str) -> bool:
        return self.is_service and scope in self.scopes.split()

    def with_all_fields(self) -> Self:
        """Itself, with what the database says in place of what a token claimed. Raises User.DoesNotExist."""
        if self.get_deferred_fields():
            self.refresh_from_db(fields=self.get_deferred_fields())
        return self

    def validate_constraints(self, exclude: Any = None) -> None:
        """As Django's, but says at which field a name is taken."""
        try:
            super().validate_constraints(exclude)
        except ValidationError as error:
            by_field: dict[str, list[ValidationError]] = {}
            for field, errors in error.error_dict.items():
                for each in errors:
                    by_field.setdefault(self.TAKEN.get(each.code or "", field), []).append(each)
            raise ValidationError(by_field) from error

    def check_password(self, raw_password: str) -> bool:
        """As Django's; a hash that is upgraded on the way is still the same password, so sign-ins go on."""
        return check_password(raw_password, self.password, self._upgrade_password_hash)

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

    def change_password(self, new_password: str, keep: "SignIn | None" = None) -> None:
        """
        Changes the password that was just verified on this instance; every sign-in but `keep` ends.
        Raises AccountChanged if somebody else was faster.
        """
        with transaction.atomic():
            self._replace_password(new_password, SecurityEvent.Type.PASSWORD_CHANGED, keep)
            if keep:
                keep.auth_hash = self.get_session_auth_hash()
                keep.save(update_fields=["auth_hash"])

    def reset_password(self, new_password: str) -> None:
        """
        Gives a new password to somebody who just proved to own the address; every sign-in ends.
        Raises AccountChanged if the link was used up meanwhile.
        """
        self._replace_password(new_password, SecurityEvent.Type.PASSWORD_RESET)

    def _replace_password(self, new_password: str, event: str, keep: "SignIn | None" = None) -> None:
        unchanged = User.objects.filter(pk=self.pk, password=self.password, is_active=True)
        with unchanged.ending_sign_ins(keep=keep, event=event) as locked:
            if not locked:
                raise AccountChanged
            self.set_password(new_password)
            super().save(update_fields=["password"])


class SignInQuerySet(models.QuerySet["SignIn"]):
    def live(self) -> Self:
        now = timezone.now()
        return self.filter(ended_at__isnull=True, expires_at__gt=now, created_at__gt=now - settings.SIGN_IN_MAX)

    def end(self, reason: str) -> int:
        """Ends those that have not ended, and all that hangs on them. Returns how many."""
        with transaction.atomic(using=self.db):
            ended = list(self.filter(ended_at__isnull=True).order_by("pk").select_for_update(of=("self",), no_key=True))
            if not ended:
                return 0
            ids = [sign_in.pk for sign_in in ended]
            models.QuerySet.update(
                self.model._base_manager.using(self.db).filter(pk__in=ids),
                ended_at=timezone.now(),
                end_reason=reason,
                ended_by=origin.actor(),
            )
            Session.objects.using(self.db).filter(sign_in__in=ids).delete()
            SecurityEvent.objects.record_ends(ended, reason)
            sign_ins_ended.send(sender=self.model, sign_ins=ended)
        return len(ended)

    end.alters_data = True  # type: ignore[attr-defined]

    def update(self, **values: Any) -> int:
        """An end that did not come by end() is told too."""
        if values.get("ended_at") is None:
            return super().update(**values)
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
    def start(self, user: User, kind: str, idle_timeout: timedelta, audience: str = "", bound_to: str = "") -> "SignIn":
        """
        Signs in a user whose password was just verified on this instance. Three statements.
        Raises SignInRefused if the account was changed, ended everywhere or deactivated since, and KeyNeeded.
        """
        if user.is_service and kind == SignIn.Kind.BROWSER:
            raise SignInRefused
        if kind == SignIn.Kind.CLIENT and user.needs_bound_tokens and not bound_to:
            raise KeyNeeded
        now = timezone.now()
        with transaction.atomic():
            # Takes the row lock that every wholesale end takes too: one of the two comes first and the other sees it.
            unchanged = User._base_manager.filter(
                pk=user.pk, is_active=True, password=user.password, generation=user.generation
            ).update(last_login=now)
            if not unchanged:
                raise SignInRefused
            user.last_login = now
            sign_in = self.create(
                user=user,
                kind=kind,
                user_agent=origin.user_agent(),
                ip_address=origin.ip_address(),
                auth_hash=user.get_session_auth_hash(),
                created_at=now,
                last_seen_at=now,
                refreshed_at=now,
                idle_timeout=idle_timeout,
                expires_at=now + min(idle_timeout, settings.SIGN_IN_MAX),
                audience=audience,
                bound_to=bound_to,
            )
            SecurityEvent.objects.record(SecurityEvent.Type.SIGNED_IN, user, sign_in, kind=kind)
        return sign_in

    def rotate(self, sid: uuid.UUID, user_id: int, refresh_id: uuid.UUID) -> "SignIn":
        """
        Uses up a refresh token of that user's sign-in, which then has the id of its successor: the same one for every
        use within the grace period. Two statements, no lock held. Raises RefreshRefused; a token presented later is
        theft.
        """
        now = timezone.now()
        while True:
            sign_in = SignIn.with_user(sid)
            if sign_in is None or sign_in.user_id != user_id or not sign_in.is_live(now):
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
        """Ends all sign-ins of a user, or all but `keep`, and those that are under way. Returns how many."""
        with transaction.atomic():
            User._base_manager.filter(pk=user.pk).update(generation=models.F("generation") + 1)
            sign_ins = self.filter(user_id=user.pk)
            return (sign_ins.exclude(pk=keep.pk) if keep else sign_ins).end(reason)


class SignIn(models.Model):
    """One place where a user is signed in: a browser, or a client (a family of tokens)."""

    class Kind(models.TextChoices):
        BROWSER = "browser", _("browser")
        CLIENT = "client", _("client")

    class Reason(models.TextChoices):
        SIGNED_OUT = "signed_out", _("signed out")
        ENDED_BY_USER = "ended_by_user", _("ended from the list")
        ENDED_BY_STAFF = "ended_by_staff", _("ended by staff")
        PASSWORD_CHANGED = "password_changed", _("password changed")
        USER_DEACTIVATED = "user_deactivated", _("account deactivated")
        USER_DELETED = "user_deleted", _("account deleted")
        TOKEN_REUSED = "token_reused", _("a refresh token was used twice")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sign_ins")
    kind = models.CharField(max_length=10, choices=Kind)
    user_agent = models.CharField(max_length=origin.USER_AGENT_MAX_LENGTH, blank=True)
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    # Fingerprint of the password it was opened with: whoever changes that, even by raw SQL, ends the sign-in.
    auth_hash = models.CharField(max_length=128, editable=False)

    created_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    idle_timeout = models.DurationField()
    expires_at = models.DateTimeField()

    # The service that its access tokens are for; blank for our own API.
    audience = models.CharField(max_length=255, blank=True, editable=False)
    # The thumbprint (RFC 7638) of the key that its tokens are bound to; blank if whoever holds them may use them.
    bound_to = models.CharField(max_length=43, blank=True, editable=False)

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
    )

    class Meta:
        verbose_name = _("sign-in")
        base_manager_name = "objects"
        ordering = ["-last_seen_at"]
        permissions = [("end_signin", "Can end sign-ins of others")]
        indexes = [models.Index(fields=["user", "-last_seen_at"], name="sign_in_user_last_seen")]

    def __str__(self) -> str:
        return f"{self.device}, {self.get_kind_display()}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        if self.ended_at is not None:
            sign_ins_ended.send(sender=SignIn, sign_ins=[self])

    @classmethod
    def with_user(cls, sid: uuid.UUID) -> "SignIn | None":
        """Ended or not. One statement."""
        row = _by_sid.first(cls._meta.pk.get_db_prep_value(sid, connection))
        return cls.from_columns(row) if row else None

    @classmethod
    def columns(cls, path: str = "") -> list[str]:
        """For values_list(): what from_columns() takes, where `path` leads to the sign-in ("sign_in__")."""
        of_user = [field.attname for field in User._meta.concrete_fields]
        return [f"{path}{name}" for name in cls.DECISIVE_FIELDS] + [f"{path}user__{name}" for name in of_user]

    @classmethod
    def from_columns(cls, values: Sequence[Any]) -> "SignIn":
        """With its user; what does not decide is deferred."""
        of_user = [field.attname for field in User._meta.concrete_fields]
        sign_in = from_fields(cls, zip(cls.DECISIVE_FIELDS, values, strict=False))
        sign_in.user = from_fields(User, zip(of_user, values[len(cls.DECISIVE_FIELDS) :], strict=True))
        return sign_in

    @property
    def sid(self) -> uuid.UUID:
        return self.pk

    @property
    def device(self) -> str:
        return devices.name(self.user_agent)

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
                mail.send_later("token_reused", self.user, sign_in=self)


_by_sid = CompiledQuery(lambda: SignIn._base_manager.filter(pk=uuid.UUID(int=0)).values_list(*SignIn.columns()))
_swap_refresh_id = CompiledUpdate(
    "accounts.SignIn",
    fields=["refresh_id", "previous_refresh_id", "refreshed_at", "last_seen_at", "expires_at"],
    where=["id", "refresh_id"],
    null=["ended_at"],
)


@receiver(pre_delete, sender=SignIn)
def deleting_a_sign_in_ends_it(instance: SignIn, **kwargs: Any) -> None:
    if instance.ended_at is None:
        sign_ins_ended.send(sender=SignIn, sign_ins=[instance])


class Session(AbstractBaseSession):
    """A browser's session. Its key is stored hashed: the table opens nothing."""

    session_key = models.CharField(_("SHA-256 of the session key"), max_length=64, primary_key=True)
    sign_in = models.ForeignKey(SignIn, null=True, on_delete=models.CASCADE, related_name="sessions")

    @classmethod
    def get_session_store_class(cls) -> type:
        from accounts.sessions import SessionStore

        return SessionStore


class SecurityEventQuerySet(models.QuerySet["SecurityEvent"]):
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


class SecurityEventManager(models.Manager.from_queryset(SecurityEventQuerySet)):  # type: ignore[misc]
    def record(self, type: str, user: User | None, sign_in: SignIn | None = None, **details: str) -> "SecurityEvent":
        """Writes what just happened, in the transaction it happened in. `details` must hold no secret."""
        event = self.compose(type, user_id=user.pk if user else None, sid=sign_in.pk if sign_in else None, **details)
        event.save(force_insert=True)
        return event

    def record_ends(self, sign_ins: Sequence[SignIn], reason: str) -> None:
        type = SecurityEvent.Type.SIGNED_OUT if reason == SignIn.Reason.SIGNED_OUT else SecurityEvent.Type.SIGN_IN_ENDED
        self.bulk_create(
            [self.compose(type, user_id=each.user_id, sid=each.pk, kind=each.kind, reason=reason) for each in sign_ins],
            batch_size=1000,
        )

    def compose(self, type: str, user_id: int | None, sid: uuid.UUID | None, **details: str) -> "SecurityEvent":
        actor = origin.actor()
        return self.model(
            type=type,
            user_id=user_id,
            actor_id=actor.pk if actor else None,
            sid=sid,
            ip_address=origin.ip_address(),
            user_agent=origin.user_agent(),
            details=details,
        )


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
        PASSWORD_RESET_ASKED = "password_reset_asked", _("password reset asked")
        PASSWORD_RESET = "password_reset", _("password reset")
        USER_DEACTIVATED = "user_deactivated", _("account deactivated")

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
        indexes = [
            models.Index(fields=["user", "-id"], name="event_user_newest"),
            models.Index(fields=["sid"], name="event_sid"),
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
