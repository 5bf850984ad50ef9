"""The overview of an account: what its check-up finds, this device, and the last event that matters."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.utils import timezone

from accounts import devices, passwords
from accounts.factors import requirements
from accounts.models import SecurityEvent, SignIn, User
from accounts.models.event_sentences import TYPES_OF, Importance
from accounts.models.sign_in_querysets import MAX_COMPARED_SIGN_INS

# A device is new for this long.
NEW_DEVICE = timedelta(days=7)
MAX_LISTED_DEVICES = 3
# Of the changes of the account, not those without consequence.
ROUTINE_TYPES = {SecurityEvent.Type.EVENTS_EXPORTED, SecurityEvent.Type.FACTOR_RENAMED}
IMPORTANT_TYPES = (TYPES_OF[Importance.SECURITY] | TYPES_OF[Importance.ALARM]) - ROUTINE_TYPES


class Overview:
    """The state of an account, seen from a sign-in. Three statements; one more if fields of `user` are deferred."""

    def __init__(self, user: User, current: SignIn) -> None:
        self.user = user.with_all_fields()
        owner = User.objects.filter(pk=OuterRef("user"))
        row = SignIn.objects.filter(pk=current.pk).annotate(has_second_factor=Exists(owner.with_second_factor())).get()
        self.this_device: SignIn = row
        self.has_second_factor: bool = row.has_second_factor
        self.can_add_factor = requirements.can_add(self.user)
        self.new_devices = _new_devices(self.user, row)
        self.last_event, self._password_event = _latest_events(self.user)

    @property
    def listed_devices(self) -> str:
        """The names of the first new devices."""
        return ", ".join(self.new_devices[:MAX_LISTED_DEVICES])

    @property
    def more_devices(self) -> int:
        """How many new devices are not listed."""
        return max(0, len(self.new_devices) - MAX_LISTED_DEVICES)

    @property
    def new_device_days(self) -> int:
        return NEW_DEVICE.days

    @property
    def event_days(self) -> int:
        return settings.EVENT_KEEP.days

    @property
    def password_set_at(self) -> datetime | None:
        """When the password was set. None: before the events that are kept, which is EVENT_KEEP_DAYS ago."""
        return passwords.set_by(self.user, self._password_event)


def _new_devices(user: User, current: SignIn) -> list[str]:
    """
    The labels of sign-ins of the last days whose device none of the earlier ones has, of MAX_COMPARED_SIGN_INS, and
    that is not like this device. The latest first. One statement.
    """
    # Without those of support.
    own = SignIn.objects.filter(user=user, actor_sid=None).order_by("-created_at")
    newest = own.only("kind", "name", "user_agent", "created_at", "actor_sid")
    since = timezone.now() - NEW_DEVICE
    seen = {(current.kind, devices.of(current.user_agent))}
    new: list[str] = []
    for sign_in in reversed(newest[:MAX_COMPARED_SIGN_INS]):
        if sign_in.created_at > since and not sign_in.is_known_device(seen):
            new.insert(0, sign_in.label)
        seen.add((sign_in.kind, devices.of(sign_in.user_agent)))
    return new


def _latest_events(user: User) -> tuple[SecurityEvent | None, SecurityEvent | None]:
    """The latest important event, and the latest change of the password. One statement."""
    latest = [Subquery(_latest(user, types)) for types in (IMPORTANT_TYPES, passwords.SET_BY)]
    # Newest first. Any change of the password is important, so it is the first or the second row.
    rows: list[SecurityEvent] = list(SecurityEvent.objects.filter(pk__in=latest))
    password = next((each for each in rows if each.type in passwords.SET_BY), None)
    return (rows[0] if rows else None), password


def _latest(user: User, types: Any) -> QuerySet[Any]:
    return SecurityEvent.objects.filter(user=user, type__in=types).order_by("-pk").values("pk")[:1]
