"""The model of a user: a person or a service account."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Self

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import DEFAULT_DB_ALIAS, models, transaction
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from accounts import hashing, initial_passwords, look_alikes, names, notices
from accounts.changed_columns import ChangedColumnsModel
from accounts.compiled_queries import CompiledQuery
from accounts.http import request_context
from accounts.models.choices import EventType
from accounts.models.errors import AccountChanged
from accounts.models.events import SecurityEvent
from accounts.models.profiles import ProfiledUser
from accounts.models.sign_ins import user_columns
from accounts.models.user_querysets import RAISED_GENERATION, AccountManager, NullIfBlank, UserQuerySet, retry_deletion
from accounts.models.user_rights import UserRights


def check_scopes(scopes: str) -> None:
    """Raises ValidationError for unknown scopes."""
    if unknown := set(scopes.split()) - set(User.Scope.values):
        raise ValidationError(_("Unknown scopes: %(scopes)s"), params={"scopes": " ".join(sorted(unknown))})


class User(ChangedColumnsModel, ProfiledUser, UserRights, AbstractUser):
    """
    A person or a service account. A new password, a deactivation or a change to a service, by any method, ends the
    user's sign-ins.
    """

    class Scope(models.TextChoices):
        INTROSPECT = "introspect", _("introspect tokens")

    username = models.CharField(
        _("username"),
        max_length=150,
        unique=True,
        help_text=_("Letters, digits and @ . + - _ only."),
        # At the sign-up: ASCII only (accounts.registration). Users who moved in may have other letters.
        validators=[look_alikes.validate_username],
        error_messages={"unique": _("A user with that username already exists.")},
    )
    # Blank: the user moved in without an address. A sign-up needs one.
    email = models.EmailField(
        _("e-mail address"),
        blank=True,
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
    # Null: not confirmed.
    email_confirmed_at = models.DateTimeField(null=True, editable=False)
    # The address of a pending change. It replaces `email` when it is confirmed.
    new_email = models.EmailField(blank=True, default="", db_default="", editable=False)
    # Counts the ends of all sign-ins of this user. A sign-in that is starting is refused if the number has changed.
    generation = models.PositiveBigIntegerField(default=0, editable=False)
    # Set for throw-away accounts of the demo only.
    delete_after = models.DateTimeField(null=True, editable=False)
    # The time of the sign-up by page or API, until the account is first used. Null for all other accounts.
    unused_since = models.DateTimeField(null=True, editable=False)

    # True on the instance that sign_up() returns: the sign-in that follows the sign-up does not count as a use.
    is_signing_up = False
    # True on an instance whose sign-in of the site before continues (accounts.moving_in).
    is_continuing = False
    # The staff member who is signed in as this user, on the instance of a request with a support sign-in.
    acting_staff: "User | None" = None
    # What was proved on this instance (Method) before starting.start(), and when if not now: set by the code that
    # verified it.
    proved: tuple[str, ...] = ()
    proved_at: datetime | None = None

    objects: ClassVar[AccountManager] = AccountManager()

    REQUIRED_FIELDS = ["email"]
    # The field of each error code that validate_constraints() raises.
    FIELD_OF_CODE = {"username_taken": "username", "email_taken": "email"}
    EMAIL_TAKEN = _("A user with that e-mail address already exists.")

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        # So that related managers, cascades and Model.save() use this manager, too.
        base_manager_name = "objects"
        permissions = [
            ("deactivate_user", "Can deactivate and reactivate users"),
            ("send_password_reset", "Can send password resets to users"),
        ]
        # For queries of the previous release. The next one can remove it.
        indexes = [models.Index(Lower("email"), name="email_of_before")]
        constraints = [
            models.UniqueConstraint(
                Lower("username"),
                name="username_case_insensitive",
                violation_error_code="username_taken",
                violation_error_message=_("A user with that username already exists."),
            ),
            models.UniqueConstraint(
                Lower(NullIfBlank("email")),
                name="email_unique_or_blank",
                violation_error_code="email_taken",
                violation_error_message=_("A user with that e-mail address already exists."),
            ),
        ]

    def save(self, **options: Any) -> None:
        """
        Writes the columns that changed. A new password ends all sign-ins but that of the current request, as Django's
        PasswordChangeView does. Raises AccountChanged if the password in the row has changed since it was read.
        """
        columns = self.columns_to_update(**options)
        if columns is None or not UserQuerySet.DECISIVE_FIELDS & set(columns):
            return super().save(**options)
        same_row = User.objects.filter(pk=self.pk)
        keep = request_context.sid_of(self) if "password" in columns else None
        self._save_ending_sign_ins(same_row, keep=keep, **options)

    def _save_ending_sign_ins(
        self, unchanged: UserQuerySet, keep: uuid.UUID | None = None, event: str = "", **options: Any
    ) -> None:
        """
        Saves, and ends sign-ins, if the locked row is in `unchanged` and has the password that this instance read.
        Otherwise raises AccountChanged.
        """
        if "password" in self._stored:
            unchanged = unchanged.filter(password=self._stored["password"])
        with transaction.atomic(), unchanged.end_sign_ins_on_change(keep=keep, event=event) as before:
            if not before:
                raise AccountChanged
            self._save_with_generation(before[self.pk], **options)
            if keep:
                # The session and tokens of this sign-in stay valid with the new password.
                self.sign_ins.filter(pk=keep).update(auth_hash=self.get_session_auth_hash())

    def _save_with_generation(self, row: "User", **options: Any) -> None:
        """
        Saves, and raises the generation of the locked row in the same UPDATE if the change ends sign-ins. The instance
        gets the new generation, so that login() may follow, unless sign-ins ended since it was read.
        """
        columns, read = self.columns_to_update(**options) or [], self.generation
        new = {name: getattr(self, name) for name in UserQuerySet.DECISIVE_FIELDS & set(columns)}
        self.generation = row.generation + row.is_ended_by(new)
        super().save(**options | {"update_fields": {*columns, "generation"}})
        if read != row.generation:
            self.generation = read
            self.mark_stored(["generation"])

    def is_ended_by(self, new: Mapping[str, Any]) -> bool:
        """Returns whether a change to these values of DECISIVE_FIELDS ends the user's sign-ins."""
        return (
            new.get("password", self.password) != self.password
            or (self.is_active and not new.get("is_active", True))
            or (not self.is_service and new.get("is_service", False))
        )

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """As Django's. Ends the user's sign-ins first."""
        pk = self.pk

        def delete() -> tuple[int, dict[str, int]]:
            # A try that was rolled back has removed the pk from the instance.
            self.pk = pk
            User.objects.filter(pk=pk)._end_before_deletion()
            return super(User, self).delete(*args, **kwargs)

        return retry_deletion(delete, self._state.db or DEFAULT_DB_ALIAS)

    def refresh_from_db(self, using: str | None = None, fields: Any = None, from_queryset: Any = None) -> None:
        """
        Loads all fields when one deferred field is read, also fields with a value, since the claims of a token may be
        out of date (Django documentation, "Refreshing objects from database").
        """
        if fields is not None and self.get_deferred_fields() & set(fields):
            # Values that the caller has set stay, as when Django loads a deferred field.
            fields = [name for name in user_columns() if name not in self.changed_columns()]
        super().refresh_from_db(using, fields, from_queryset=from_queryset)

    def with_all_fields(self) -> Self:
        """
        Loads all fields from the database if some are deferred, and returns itself. At most one statement. Raises
        User.DoesNotExist.
        """
        if self.get_deferred_fields():
            row = _user_row.first(self.pk)
            if row is None:
                raise User.DoesNotExist
            changes = {name: getattr(self, name) for name in self.changed_columns()}
            vars(self).update(zip(user_columns(), row, strict=True))
            self.mark_stored()
            vars(self).update(changes)
        return self

    def clean_one_field(self, name: str) -> None:
        """As full_clean(), for one field and the constraints on it. At most one statement."""
        others = {field.name for field in self._meta.fields} - {name}
        self.clean_fields(exclude=others)
        self.validate_constraints(exclude=others)

    def validate_constraints(self, exclude: Any = None) -> None:
        """As Django's. Assigns the errors of unique names to their fields, and calls check_names()."""
        try:
            super().validate_constraints(exclude)
            if not {"username", "email"} & set(exclude or ()):
                self.check_names()
        except ValidationError as error:
            by_field: dict[str, list[ValidationError]] = {}
            for field, errors in error.error_dict.items():
                for each in errors:
                    by_field.setdefault(self.FIELD_OF_CODE.get(each.code or "", field), []).append(each)
            raise ValidationError(by_field) from error

    def check_names(self) -> None:
        """
        Raises ValidationError if a name of this account signs in to another account: an address that is another's
        username, a username that is another's address, or a new username in the form of an address other than its own.
        """
        others = User.objects.exclude(pk=self.pk)
        if others.alias(lower_name=Lower("username")).filter(lower_name=names.address(self.email)).exists():
            raise ValidationError({"email": ValidationError(self.EMAIL_TAKEN, code="email_taken")})
        if names.same(self.username, self.email) or not names.is_address(self.username):
            return
        is_kept = User.objects.filter(pk=self.pk, username=self.username).exists()
        if not is_kept or others.with_login(self.username).exists():
            text = _("A username in the form of an e-mail address must be the account's own e-mail address.")
            raise ValidationError({"username": ValidationError(text, code="username_is_address")})

    def set_password(self, raw_password: str | None) -> None:
        """As Django's. In a request, takes a hashing slot (accounts.hashing). Raises HashingOverloaded."""
        self.password = hashing.hashed(raw_password)
        self._password = raw_password

    def check_password(self, raw_password: str) -> bool:
        """As Django's, with a hashing slot, and False for an expired initial password. An upgrade ends no sign-ins."""
        is_right = hashing.is_right(raw_password, self.password, self._upgrade_password_hash)
        return is_right and not initial_passwords.is_expired(self, raw_password)

    async def acheck_password(self, raw_password: str) -> bool:
        return await sync_to_async(self.check_password)(raw_password)

    def _upgrade_password_hash(self, raw_password: str) -> None:
        old_password, old_hash = self.password, self.get_session_auth_hash()
        self.set_password(raw_password)
        self._password = None
        with transaction.atomic():
            # The new generation shows the database trigger that this is no new password.
            upgraded = models.QuerySet.update(
                User._base_manager.filter(pk=self.pk, password=old_password),
                password=self.password,
                generation=RAISED_GENERATION,
            )
            if upgraded:
                self.sign_ins.filter(auth_hash=old_hash).update(auth_hash=self.get_session_auth_hash())
                if "generation" not in self.get_deferred_fields():
                    # Relative to what was read: a sign-in under way is refused only if others have ended meanwhile.
                    self.generation += 1
                self.mark_stored(["password", "generation"])

    @property
    def has_mailbox(self) -> bool:
        """Whether the account can receive mail. It may have a new address, and none yet that it replaces."""
        return bool(self.email or self.new_email) and self.may_have_mailbox

    @property
    def may_have_mailbox(self) -> bool:
        """Whether the user can set an address. Throw-away and service accounts have invalid ones (RFC 2606)."""
        return not self.is_throw_away and not self.is_service

    @property
    def may_reset_password(self) -> bool:
        """Whether the user may set a new password by a mailed link. One statement for a user without a password."""
        if not (self.is_active and self.email and self.has_mailbox):
            return False
        # Without a password, the mail is the way in for a user whose provider is gone.
        return self.has_usable_password() or self.connected_accounts.exists()

    @property
    def address_to_confirm(self) -> str:
        """The address that a confirmation mail goes to, or ""."""
        if not self.has_mailbox:
            return ""
        return self.new_email or ("" if self.email_confirmed_at else self.email)

    def cancel_email_change(self) -> bool:
        """Cancels a pending change of the address, and invalidates its link. Returns whether a change was pending."""
        with transaction.atomic():
            was_pending = bool(User.objects.filter(pk=self.pk).exclude(new_email="").update(new_email=""))
            self.new_email = ""
            if was_pending:
                SecurityEvent.objects.record(EventType.EMAIL_CHANGE_CANCELLED, self)
        return was_pending

    def notify(self, notice: str, to: str = "", **context: Any) -> None:
        """
        Mails a notice about the account: to its address if that is confirmed, or to `to`, an earlier confirmed address.
        Quotas apply (accounts.notices).
        """
        notices.send_later(notice, self, to, **context)

    def mark_used(self) -> None:
        """Records the first use of the account. One statement for the first use, then none."""
        if self.unused_since:
            User.objects.filter(pk=self.pk).update(unused_since=None)

    def replace_password(self, new_hash: str, event: str, keep: uuid.UUID | None = None) -> None:
        """
        Saves a new hash, ends all sign-ins but `keep`, records `event` and cancels a pending change of the address.
        Raises AccountChanged if the row has another password or address, or the user is not active.
        """
        # A link that was mailed to an address is valid only while the account has the address.
        unchanged = User.objects.filter(pk=self.pk, email=self.email, is_active=True)
        self.password = new_hash
        self._save_ending_sign_ins(unchanged, keep=keep, event=event, update_fields=["password"])
        # The end of the sign-ins has cleared it in the row.
        self.new_email = ""
        self.mark_stored(["new_email"])


_user_row = CompiledQuery(lambda: User._base_manager.filter(pk=0).values_list(*user_columns()))
