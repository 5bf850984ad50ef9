"""
Collisions: users of the site before who cannot be taken as they are, each with the rule that says why and with what
would become of it. The names of users here and there are compared in memory: about 500 bytes for each user.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db.models.functions import Lower

from accounts import look_alikes, names
from accounts.models import MovedInUser, User
from accounts.models.user_querysets import NullIfBlank
from accounts.moving_in import old_hashes, old_users
from accounts.moving_in.old_users import OldUser
from accounts.moving_in.sources import Row

# The rules, in the order of the report, and what each means.
RULES = {
    "unreadable": "a column has a value that is not of its type",
    "duplicate-id": "several users have the id",
    "case": "the username is another's, ignoring case and Unicode forms",
    "look-alike": "the username can be confused with another one",
    "invalid-name": "the username is empty, too long, or has characters that Django refuses",
    "name-is-address": "the username is the address of another user",
    "invalid-address": "the address is not a plain e-mail address",
    "duplicate-address": "another user has the address",
    "blank-address": "there is no address",
    "unknown-hash": "the password hash cannot be verified here",
    "factor-lost": "a second factor cannot be read",
    "id-taken": "another account here has the id",
    "new-id": "the id is not a whole number",
    "group-taken": "the group here has permissions that the imported one does not have",
}
# They change nothing that the user needs, and do not stop an import.
NOTES = frozenset({"blank-address", "new-id"})
CHECKED_AT_ONCE = 500


class Collision(NamedTuple):
    rule: str
    # What is named: a user by name and id, or a group. Never a hash.
    subject: str
    outcome: str

    @property
    def is_note(self) -> bool:
        return self.rule in NOTES


@dataclass
class Plan:
    """What an import would do. Users without a changed or left-out entry are taken as they are."""

    total: int = 0
    imported_before: int = 0
    collisions: list[Collision] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)
    # How many users have these ids.
    left_out_count: int = 0
    # By old id: the columns with another value.
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    # The addresses that the site before has confirmed, in lower case, by old id.
    confirmed: dict[str, set[str]] = field(default_factory=dict)
    # The address of users whose row has none (allauth).
    addresses: dict[str, str] = field(default_factory=dict)
    # The old ids of users with a second factor that does not come along (old_factors).
    factor_lost: set[str] = field(default_factory=set)

    def add(self, rule: str, user: OldUser, outcome: str) -> None:
        self.collisions.append(Collision(rule, f"{user.username!a} (id {user.id})", outcome))

    def leave_out(self, rule: str, user: OldUser) -> None:
        self.add(rule, user, "left out")
        self.left_out.add(user.id)
        self.left_out_count += 1

    def user_of(self, row: Row) -> OldUser | None:
        """Returns the user of a row as it is imported; None for one that is left out. Raises Unreadable."""
        user = self.read(row)
        if user.id in self.left_out:
            return None
        for name, value in self.changes.get(user.id, {}).items():
            setattr(user, name, value)
        return user

    def read(self, row: Row) -> OldUser:
        """Returns the user of a row with what allauth knows of the address. Raises Unreadable."""
        user = old_users.read(row)
        user.email = user.email or self.addresses.get(user.id, "")
        user.is_confirmed = user.is_confirmed or user.email in self.confirmed.get(user.id, ())
        return user


class Names:
    """The usernames and addresses of accounts here, and of the users that were planned before."""

    def __init__(self) -> None:
        self.usernames: set[str] = set()
        self.addresses: set[str] = set()

    def read_here(self, usernames: Iterable[str], addresses: Iterable[str]) -> None:
        """Adds those of these names that accounts here have. One statement."""
        wanted = [each for each in {*usernames, *addresses} if each]
        taken = User.objects.alias(lower_name=Lower("username"), lower_email=Lower(NullIfBlank("email")))
        found = taken.filter(lower_name__in=wanted) | taken.filter(lower_email__in=wanted)
        for username, email in found.values_list("username", "email"):
            self.usernames.add(look_alikes.folded(username))
            self.addresses.add(names.address(email))
        self.addresses.discard("")


def make_plan(rows: Iterable[Row], emails: Iterable[Row], factor_lost: set[str]) -> Plan:
    """
    Returns what an import of these users would do. `emails` are rows of allauth's account_emailaddress, and
    `factor_lost` is OldFactors.lost.
    """
    plan = Plan(factor_lost=factor_lost)
    _read_emails(plan, emails)
    users = _read_new_users(plan, rows)
    holders = _holders_of_addresses(users)
    taken = Names()
    for some in _chunks(users):
        ids = [each.kept_id for each in some if each.kept_id]
        ids_here = set(User.objects.filter(pk__in=ids).values_list("pk", flat=True))
        taken.read_here([look_alikes.folded(each.username) for each in some], [each.email for each in some])
        for user in some:
            _plan_user(plan, user, taken, holders, ids_here)
    return plan


def _read_new_users(plan: Plan, rows: Iterable[Row]) -> list[OldUser]:
    """The users who were not imported before, without those whose id is not theirs alone."""
    before = set(MovedInUser.objects.values_list("pk", flat=True))
    users = []
    for row in rows:
        plan.total += 1
        try:
            user = plan.read(row)
        except old_users.Unreadable as error:
            _leave_out_unreadable(plan, row, str(error))
            continue
        if user.id in before:
            plan.imported_before += 1
        else:
            users.append(user)
    count_of_id = Counter(user.id for user in users)
    for user in users:
        # Tokens and sessions of before name the id: whose they are is not known.
        if count_of_id[user.id] > 1:
            plan.leave_out("duplicate-id", user)
    return [user for user in users if count_of_id[user.id] == 1]


def _read_emails(plan: Plan, emails: Iterable[Row]) -> None:
    for row in emails:
        old_id, address = old_users.id_text(row.get("user_id")), names.address(str(row.get("email") or ""))
        if row.get("verified"):
            plan.confirmed.setdefault(old_id, set()).add(address)
        if row.get("primary"):
            plan.addresses[old_id] = address


def _leave_out_unreadable(plan: Plan, row: Row, column: str) -> None:
    subject = f"id {row.get('id')!a}"
    plan.collisions.append(Collision("unreadable", subject, f"left out: column {column}"))
    plan.left_out_count += 1


def _holders_of_addresses(users: Iterable[OldUser]) -> dict[str, str]:
    """
    The old id of the user who keeps each address: of several, the one who has confirmed it, then the one who signed in
    last, then the first.
    """

    def rank(user: OldUser) -> tuple[bool, float]:
        return user.is_confirmed, user.last_login.timestamp() if user.last_login else 0.0

    best: dict[str, tuple[tuple[bool, float], str]] = {}
    for user in users:
        if user.email and (user.email not in best or rank(user) > best[user.email][0]):
            best[user.email] = (rank(user), user.id)
    return {address: old_id for address, (_rank, old_id) in best.items()}


def _plan_user(plan: Plan, user: OldUser, taken: Names, holders: dict[str, str], ids_here: set[int]) -> None:
    changes: dict[str, Any] = {}
    email = _plan_address(plan, user, taken, holders, changes)
    problem = _problem_of_name(user.username, email, taken, holders)
    if problem and not _rename(plan, user, problem, email, taken, changes):
        plan.leave_out(problem, user)
        return
    taken.usernames.add(look_alikes.folded(changes.get("username", user.username)))
    taken.addresses.add(email)
    taken.addresses.discard("")
    if not old_hashes.is_known(user.password):
        changes["password"] = old_hashes.unknown()
        plan.add("unknown-hash", user, "must reset the password by mail" if email else "cannot sign in: no address")
    if user.id in plan.factor_lost:
        plan.add("factor-lost", user, "taken without it, and signs in again with the password")
    if user.kept_id is None:
        plan.add("new-id", user, "gets a new id")
    elif user.kept_id in ids_here:
        changes["keeps_id"] = False
        plan.add("id-taken", user, "gets a new id")
    if changes:
        plan.changes[user.id] = changes


def _plan_address(plan: Plan, user: OldUser, taken: Names, holders: dict[str, str], changes: dict[str, Any]) -> str:
    """Returns the address that the user has here, or ""."""
    if not user.email:
        plan.add("blank-address", user, "cannot reset the password by mail")
        return ""
    try:
        User._meta.get_field("email").clean(user.email, None)
    except ValidationError:
        changes["email"] = ""
        plan.add("invalid-address", user, "taken without an address")
        return ""
    is_anothers = user.email in taken.addresses or user.email in taken.usernames
    if is_anothers or holders.get(user.email) != user.id:
        changes["email"] = ""
        plan.add("duplicate-address", user, "taken without an address")
        return ""
    return user.email


def _problem_of_name(username: str, email: str, taken: Names, holders: dict[str, str]) -> str:
    """The rule that the username breaks, or ""."""
    if look_alikes.folded(username) in taken.usernames:
        return "case"
    try:
        User._meta.get_field("username").clean(username, None)
    except ValidationError as error:
        codes = {each.code for each in error.error_list}
        return "look-alike" if "username_look_alike" in codes else "invalid-name"
    address = names.address(username)
    # Two users there may each have the other's address as their name.
    if address != email and (address in taken.addresses or address in holders):
        return "name-is-address"
    return ""


def _rename(plan: Plan, user: OldUser, rule: str, email: str, taken: Names, changes: dict[str, Any]) -> bool:
    """Gives a user with an address a new name. Returns whether there is an address to sign in with."""
    new_name = f"user-{user.id}"[:150]
    if not email or new_name.lower() in taken.usernames:
        return False
    changes["username"] = new_name
    plan.add(rule, user, f"named {new_name}, and signs in with the e-mail address")
    return True


def _chunks(users: list[OldUser]) -> Iterator[list[OldUser]]:
    for start in range(0, len(users), CHECKED_AT_ONCE):
        yield users[start : start + CHECKED_AT_ONCE]
