"""Rules of the checker about mails."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from tests.chaos.recorder import Alarm, Fault, History, Letter

# The events of which each one must be mailed; the templates of their mails have the same names.
ALARMS = ("token_reused", "password_changed", "recovery_code_used", "recovery_codes_made")
# Parts without which no mail is sent.
NEEDED = ("mail server", "mail worker", "postgres")
# Seconds from an alarm to its mail in which these parts work, beside as many as they were faulty: a mail is repeated
# after a pause that is as long as the mail is old.
MAIL_SECONDS = 120.0
# Clocks of nodes differ.
CLOCKS_APART = 31.0

Key = tuple[str, str, str]


def every_alarm_is_mailed(history: History) -> Iterator[str]:
    for alarm, letter in mails_of_alarms(history):
        if letter is None:
            yield f"{alarm.kind} of {alarm.user} ({alarm.ip_address}) was not mailed"
            continue
        if is_late(history.faults, alarm, letter.received_at):
            late = letter.received_at - alarm.recorded_at
            yield f"{alarm.kind} of {alarm.user} ({alarm.ip_address}) was mailed after {late:.0f} s"


def no_mail_goes_to_the_wrong_address(history: History) -> Iterator[str]:
    for letter in history.letters:
        if letter.header_to != letter.to:
            yield f"a mail {letter.kind} to {letter.header_to} was sent to {letter.to}"
        for name in letter.names:
            if letter.to != address_of(name):
                yield f"a mail {letter.kind} about {name} was sent to {letter.to}"


def address_of(name: str) -> str:
    return f"{name}@example.org"


def mails_of_alarms(history: History) -> Iterator[tuple[Alarm, Letter | None]]:
    """Yields each alarm of the database with its mail, or None. Each mail, however often it came, is of one alarm."""
    alarms: dict[Key, list[Alarm]] = defaultdict(list)
    for alarm in sorted(history.record.alarms if history.record else (), key=lambda alarm: alarm.recorded_at):
        alarms[alarm.kind, address_of(alarm.user), alarm.ip_address].append(alarm)
    mails: dict[Key, list[Letter]] = defaultdict(list)
    for letter in first_copies(history.letters):
        for ip_address in letter.ip_addresses:
            mails[letter.kind, letter.to, ip_address].append(letter)
    for key, these in alarms.items():
        waiting = mails[key]
        for alarm in these:
            found = next((each for each in waiting if each.received_at > alarm.recorded_at - CLOCKS_APART), None)
            if found:
                waiting.remove(found)
            yield alarm, found


def first_copies(letters: Sequence[Letter]) -> list[Letter]:
    """Returns each mail once, in the order of arrival: a mail whose delivery was not confirmed comes again."""
    return list({letter.id: letter for letter in reversed(letters)}.values())[::-1]


def is_late(faults: Sequence[Fault], alarm: Alarm, at: float) -> bool:
    faulty = faulty_seconds(faults, alarm.recorded_at, at)
    return at - alarm.recorded_at - faulty > MAIL_SECONDS + CLOCKS_APART + faulty


def faulty_seconds(faults: Sequence[Fault], since: float, until: float) -> float:
    """Returns how much of this time a part that mails need was faulty."""
    faulty, reached = 0.0, since
    for fault in sorted((each for each in faults if each.part in NEEDED), key=lambda fault: fault.began):
        over = min(fault.over, until)
        if over > reached:
            faulty += over - max(reached, fault.began)
            reached = over
    return max(0.0, faulty)
