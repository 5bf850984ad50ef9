"""The import itself: users with factors, groups and permissions in batches, and their tokens and sessions of before."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from accounts.compiled_queries import chunks
from accounts.models import AuthenticatorApp, MovedInUser, OldCredential, Passkey, Session, SignIn, User
from accounts.moving_in import continuing, old_sessions, old_users
from accounts.moving_in.collisions import Collision, Plan
from accounts.moving_in.groups import Rights
from accounts.moving_in.old_factors import OldFactors
from accounts.moving_in.old_users import OldUser
from accounts.moving_in.sources import Row, Source

BATCH_SIZE = 500
# The last value is NULL for a sequence that has given no id.
RAISE_SEQUENCE = """
    SELECT setval(sequence, newest)
    FROM (
        SELECT pg_get_serial_sequence('accounts_user', 'id')::regclass AS sequence, max(id) AS newest FROM accounts_user
    ) AS of_table
    WHERE newest > coalesce(pg_sequence_last_value(sequence), 0)
"""


def takes_old_sign_ins() -> bool:
    """Returns whether tokens or sessions of the site before are taken, so that users get what stands for them."""
    jwt = bool(settings.LEGACY_JWT_KEY) and continuing.is_active(settings.LEGACY_JWT_UNTIL)
    return jwt or old_sessions.is_on()


class Import:
    """An import of a plan. `counts` is what it has done so far, by the words of the report."""

    def __init__(self, source: Source, plan: Plan, factors: OldFactors, *, is_confirmed: bool) -> None:
        self.source = source
        self.plan = plan
        self.factors = factors
        self.is_confirmed = is_confirmed
        self.counts: Counter[str] = Counter()
        self.rights = Rights(source)

    def group_collisions(self) -> list[Collision]:
        """Returns the groups whose members would get permissions that they did not have."""
        return self.rights.collisions()

    def users(self) -> Iterator[int]:
        """
        Imports the users, with one transaction for each batch: a batch is there wholly, or not at all. Yields how many
        rows of the source each batch had. Users who were imported before are skipped. Raises IntegrityError if another
        request has taken a name meanwhile: a new plan names it.
        """
        self.rights.prepare()
        for batch in _batches(self.source.users()):
            with transaction.atomic():
                self._import_batch(batch)
            yield len(batch)

    def _import_batch(self, batch: list[Row]) -> None:
        now = timezone.now()
        olds = self._new_users_of(batch, now)
        users = [self._build(old, now) for old in olds]
        # Django sets the new ids.
        User.objects.bulk_create(users)
        moved_in = [self._moved_in(user, old, now) for user, old in zip(users, olds, strict=True)]
        if takes_old_sign_ins():
            self._add_sign_ins_of_before(users, moved_in, now)
        MovedInUser.objects.bulk_create(moved_in)
        self._add_factors(users, olds)
        self.counts["permissions and memberships"] += self.rights.give(users, [old.id for old in olds])
        _raise_sequence()
        self._count(users, olds)

    def _new_users_of(self, batch: list[Row], now: datetime) -> list[OldUser]:
        """The users who were not imported before. Those who were may get what continues their sign-ins now."""
        olds = [old for row in batch if (old := self._read(row))]
        known = MovedInUser.objects.in_bulk([old.id for old in olds])
        if takes_old_sign_ins():
            self._continue_later(olds, known, now)
        return [old for old in olds if old.id not in known]

    def _continue_later(self, olds: list[OldUser], known: dict[str, MovedInUser], now: datetime) -> None:
        """
        For users imported without LEGACY_JWT_KEY and LEGACY_SESSION_KEY, if the password and the generation are still
        those of the import, and no sign-in has ended: what users ended meanwhile is not continued.
        """
        passwords = {old.id: old.password for old in olds}
        without = {row.user_id: row for row in known.values() if row.user_id and row.sign_in_id is None}
        if not without:
            return
        ended = SignIn.objects.filter(user=OuterRef("pk"), ended_at__isnull=False)
        unchanged = User.objects.filter(~Exists(ended), pk__in=without, generation=0, is_active=True)
        users = [user for user in unchanged.lock() if user.password == passwords[without[user.pk].pk]]
        rows = [without[user.pk] for user in users]
        self._add_sign_ins_of_before(users, rows, now)
        for row, user in zip(rows, users, strict=True):
            row.session_hash = old_sessions.session_hash(user.password)
        MovedInUser.objects.bulk_update(rows, ["sign_in_id", "session_hash"])

    def _add_sign_ins_of_before(self, users: list[User], rows: list[MovedInUser], now: datetime) -> None:
        """Not for a user with a lost factor: a sign-in of before would go on without it."""
        sign_ins = []
        for user, row in zip(users, rows, strict=True):
            if row.pk not in self.plan.factor_lost:
                sign_in = continuing.sign_in_of_before(user, now)
                row.sign_in_id = sign_in.pk
                sign_ins.append(sign_in)
        SignIn.objects.bulk_create(sign_ins)
        Session.objects.bulk_create([continuing.session_of_before(sign_in) for sign_in in sign_ins])

    def _read(self, row: Row) -> OldUser | None:
        try:
            return self.plan.user_of(row)
        except old_users.Unreadable:
            return None

    def _build(self, old: OldUser, now: datetime) -> User:
        is_confirmed = bool(old.email) and (old.is_confirmed or self.is_confirmed)
        return User(
            pk=old.kept_id,
            username=old.username,
            email=old.email,
            password=old.password,
            first_name=old.first_name,
            last_name=old.last_name,
            is_active=old.is_active,
            is_staff=old.is_staff,
            is_superuser=old.is_superuser,
            date_joined=old.date_joined,
            last_login=min(old.last_login, now) if old.last_login else None,
            email_confirmed_at=now if is_confirmed else None,
        )

    def _moved_in(self, user: User, old: OldUser, now: datetime) -> MovedInUser:
        return MovedInUser(
            old_id=old.id,
            user=user,
            imported_at=now,
            session_hash=old_sessions.session_hash(old.password),
            token_hash=continuing.password_digest(_password_claim(old.password)),
        )

    def _add_factors(self, users: list[User], olds: list[OldUser]) -> None:
        apps, passkeys = [], []
        for user, old in zip(users, olds, strict=True):
            for factor in self.factors.of(user, old.id):
                if isinstance(factor, AuthenticatorApp):
                    apps.append(factor)
                elif isinstance(factor, Passkey):
                    passkeys.append(factor)
        self.counts["authenticator apps"] += len(AuthenticatorApp.objects.bulk_create(apps))
        self.counts["passkeys"] += len(Passkey.objects.bulk_create(passkeys))

    def _count(self, users: list[User], olds: list[OldUser]) -> None:
        self.counts["users"] += len(users)
        self.counts["ids kept"] += sum(old.kept_id is not None for old in olds)
        self.counts["confirmed addresses"] += sum(user.email_confirmed_at is not None for user in users)
        self.counts["staff"] += sum(user.is_staff for user in users)
        self.counts["users without their recovery codes"] += sum(old.id in self.factors.recovery_codes for old in olds)

    # Sign-ins of before

    def blacklist(self) -> int:
        """Marks the tokens of the old blacklist as used. Returns how many of them are unexpired."""
        outstanding = {row["id"]: row for row in self.source.rows("token_blacklist_outstandingtoken")}
        revoked = []
        for row in self.source.rows("token_blacklist_blacklistedtoken"):
            token = outstanding.get(row["token_id"], {})
            until = old_users.moment(token.get("expires_at"))
            if until and until > timezone.now():
                used_at = old_users.moment(row.get("blacklisted_at")) or timezone.now()
                pk = continuing.id_of("jti", str(token["jti"]))
                revoked.append(OldCredential(pk=pk, until=until + settings.JWT_LEEWAY, used_at=used_at))
        return _add_credentials(revoked)

    def sessions(self) -> int:
        """
        Imports the hashes of the unexpired sessions whose signature and password hash are right. Returns their number.
        Unused ones of an earlier run go if the site before has ended them meanwhile.
        """
        rows = list(self.source.rows("django_session")) if old_sessions.is_on() else []
        if not rows:
            return 0
        owners = {owner.pk: owner for owner in MovedInUser.objects.filter(sign_in_id__isnull=False)}
        live = []
        for row in rows:
            until = old_users.moment(row["expire_date"])
            content = old_sessions.decoded_row(row["session_data"]) if until and until > timezone.now() else None
            owner = owners.get(old_sessions.user_id_of(content)) if content else None
            if until and content and owner and old_sessions.is_of_password(content, owner):
                pk = old_sessions.credential_of(row["session_key"])
                live.append(OldCredential(pk=pk, user_id=owner.user_id, until=until))
        _delete_unused_except({each.pk for each in live})
        return _add_credentials(live)


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH_SIZE:
            yield batch
            batch = []
    if batch:
        yield batch


def _add_credentials(credentials: list[OldCredential]) -> int:
    """Inserts them; those of an earlier run stay as they are, used ones used. Returns how many were given."""
    for start in range(0, len(credentials), BATCH_SIZE):
        OldCredential.objects.bulk_create(credentials[start : start + BATCH_SIZE], ignore_conflicts=True)
    return len(credentials)


def _delete_unused_except(live: set[UUID]) -> None:
    """Deletes the imported sessions that are not among these. A token has no row before its use."""
    unused = OldCredential.objects.filter(used_at=None)
    for some in chunks([pk for pk in unused.values_list("pk", flat=True) if pk not in live]):
        unused.filter(pk__in=some).delete()


def _password_claim(password: str) -> str:
    """As SimpleJWT's get_md5_hash_password(): a fingerprint, not a protection."""
    return hashlib.md5(password.encode(), usedforsecurity=False).hexdigest().upper()


def _raise_sequence() -> None:
    """
    Lets new accounts get ids above the imported ones. SQLite does so by itself. Never lowers the sequence, as Django's
    sequence_reset_sql() does: an id of a deleted account would be given again.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(RAISE_SEQUENCE)
