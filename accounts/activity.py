"""The activity of an account: its events by page, with equal acts merged into one entry, and as a file."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property

from django.utils import timezone, translation

from accounts import csv_export, devices
from accounts.models import SecurityEvent, User
from accounts.models.event_sentences import TYPES_OF, Importance, plural, sentence

ENTRIES_PER_PAGE = 25
# Events that a page reads, and of which an entry can consist.
MAX_EVENTS_PER_PAGE = 500
# Events that a page of one importance reads to find those of it. Older ones follow on the next page.
MAX_EVENTS_SEARCHED = 10_000
# Events that an entry lists, and that all entries of a page list, so that a page stays below 80 kB.
MAX_LISTED = 25
MAX_LISTED_PER_PAGE = 80
# Two equal events that follow each other within this time are one act.
SAME_ACT = timedelta(minutes=1)
# Events of a file, and events that it reads in one statement.
MAX_EVENTS_IN_FILE = 20_000
EVENTS_PER_STATEMENT = 2000
ICONS: dict[str, str] = {
    SecurityEvent.Type.SIGNED_UP: "person",
    SecurityEvent.Type.SIGNED_IN: "devices",
    SecurityEvent.Type.SIGNED_IN_AS: "person",
    SecurityEvent.Type.SIGN_IN_FAILED: "unknown",
    SecurityEvent.Type.REAUTHENTICATED: "person",
    SecurityEvent.Type.SIGNED_OUT: "out",
    SecurityEvent.Type.SIGN_IN_ENDED: "out",
    SecurityEvent.Type.TOKEN_REVOKED: "out",
    SecurityEvent.Type.PASSWORD_CHANGED: "key",
    SecurityEvent.Type.PASSWORD_RESET: "key",
    SecurityEvent.Type.PASSWORD_RESET_ASKED: "mail",
    SecurityEvent.Type.EMAIL_CONFIRMED: "mail",
    SecurityEvent.Type.EMAIL_CHANGE_ASKED: "mail",
    SecurityEvent.Type.EMAIL_CHANGE_CANCELLED: "mail",
    SecurityEvent.Type.EMAIL_CHANGED: "mail",
    SecurityEvent.Type.USER_EDITED: "person",
    SecurityEvent.Type.RIGHTS_CHANGED: "person",
    SecurityEvent.Type.FACTOR_ADDED: "passkey",
    SecurityEvent.Type.FACTOR_RENAMED: "passkey",
    SecurityEvent.Type.FACTOR_REMOVED: "passkey",
}
HEADINGS = ["time", "event", "description", "device", "IP address", "user agent", "sign-in"]


@dataclass
class Entry:
    """One event, or several that are one act. Newest first."""

    events: list[SecurityEvent]
    # Whether more events of the same act follow on the next page.
    is_continued: bool = False
    # The events to list below the sentence; none if there is only one.
    listed: list[SecurityEvent] = field(default_factory=list)

    @property
    def newest(self) -> SecurityEvent:
        return self.events[0]

    @property
    def is_one(self) -> bool:
        return len(self.events) == 1

    @property
    def unlisted(self) -> int:
        """How many events of several are not listed."""
        return 0 if self.is_one else len(self.events) - len(self.listed)

    @property
    def sentence(self) -> str:
        """A sentence about all its events, in the active language."""
        return sentence(self.newest.type, self.newest.details, len(self.events))

    @property
    def icon(self) -> str:
        return icon_of(self.newest)

    @property
    def day(self) -> date:
        return timezone.localdate(self.newest.created_at)

    def includes(self, event: SecurityEvent) -> bool:
        """Returns whether the next older event is part of the same act."""
        last = self.events[-1]
        return last.created_at - event.created_at <= SAME_ACT and _act(last) == _act(event) is not None


def _act(event: SecurityEvent) -> tuple[object, ...] | None:
    """What is equal in the events of one act; None for an event that stands alone."""
    if plural(event.type, event.details) is None:
        return None
    details = event.details
    return (
        event.type,
        event.actor_id,
        event.ip_address,
        event.user_agent,
        details.get("reason"),
        details.get("why"),
        details.get("kind") if event.type == SecurityEvent.Type.SIGNED_IN else None,
    )


class ActivityPage:
    """
    The entries of a user before an event, or from the newest one on. Two pages never share an act, unless it has more
    than MAX_EVENTS_PER_PAGE events or the search ends in it. One statement; two with an importance.
    """

    def __init__(self, user: User, importance: Importance | None = None, before: int | None = None) -> None:
        self.user = user
        events = SecurityEvent.objects.filter(user=user)
        if before:
            events = events.filter(pk__lt=before)
        self._last_searched = None
        if importance:
            searched = events.values_list("pk", flat=True)[MAX_EVENTS_SEARCHED - 1 : MAX_EVENTS_SEARCHED]
            self._last_searched = next(iter(searched), None)
            events = events.filter(type__in=TYPES_OF[importance], pk__gte=self._last_searched or 0)
        read = list(events[: MAX_EVENTS_PER_PAGE + 1])
        self._is_more = len(read) > MAX_EVENTS_PER_PAGE
        self.entries = self._entries(read[:MAX_EVENTS_PER_PAGE])
        self._list()

    def _entries(self, events: list[SecurityEvent]) -> list[Entry]:
        entries: list[Entry] = []
        for event in events:
            if entries and entries[-1].includes(event):
                entries[-1].events.append(event)
            elif len(entries) == ENTRIES_PER_PAGE:
                self._is_more = True
                return entries
            else:
                entries.append(Entry([event]))
        if self._is_more and len(entries) > 1:
            # The last act may go on: it is read wholly by the next page.
            entries.pop()
        elif self._is_more:
            entries[-1].is_continued = True
        return entries

    def _list(self) -> None:
        left = MAX_LISTED_PER_PAGE
        for entry in self.entries:
            if not entry.is_one:
                entry.listed = entry.events[: min(MAX_LISTED, left)]
                left -= len(entry.listed)

    @cached_property
    def older(self) -> int | None:
        """The `before` of the next page; None on the last one."""
        if self._is_more:
            return self.entries[-1].events[-1].pk
        return self._last_searched

    def mark_sign_ins(self) -> None:
        """Sets `sign_in` of each event that is shown. One statement."""
        shown = [event for entry in self.entries for event in entry.listed or entry.events[:1]]
        sign_ins = self.user.sign_ins.in_bulk({event.sid for event in shown if event.sid})
        for event in shown:
            event.sign_in = sign_ins.get(event.sid)  # type: ignore[attr-defined]


def icon_of(event: SecurityEvent) -> str:
    """Returns the name of the event's icon: that of the device for a new sign-in the owner may see."""
    if event.importance == Importance.ALARM:
        return "warning"
    if event.type == SecurityEvent.Type.SIGNED_IN and event.owners_user_agent:
        return devices.of(event.owners_user_agent).icon
    return ICONS.get(event.type, "shield")


def as_csv(user: User) -> Iterator[str]:
    """
    Yields the newest MAX_EVENTS_IN_FILE events of a user as lines of CSV, with what the page shows. One statement for
    each EVENTS_PER_STATEMENT events.
    """
    return csv_export.as_lines(HEADINGS, _rows(user.pk, translation.get_language()))


def _rows(user_id: int, language: str | None) -> Iterator[list[object]]:
    events = SecurityEvent.objects.filter(user=user_id)
    newest = events
    for _page in range(0, MAX_EVENTS_IN_FILE, EVENTS_PER_STATEMENT):
        page = list(newest[:EVENTS_PER_STATEMENT])
        # The response is sent after the language of the request was reset.
        with translation.override(language):
            rows = [_row(event) for event in page]
        yield from rows
        if len(page) < EVENTS_PER_STATEMENT:
            return
        newest = events.filter(pk__lt=page[-1].pk)


def _row(event: SecurityEvent) -> list[object]:
    return [
        event.created_at,
        event.type,
        event.sentence,
        event.owners_device if event.owners_user_agent else "",
        event.owners_ip_address,
        event.owners_user_agent,
        event.sid,
    ]
