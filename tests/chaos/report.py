"""The report of a run, in Markdown."""

from collections import Counter

from tests.chaos.checker import Violation
from tests.chaos.mail_rules import ALARMS, first_copies, mails_of_alarms
from tests.chaos.recorder import Call, History

ANSWERS = ("granted", "503", "refused", "cut off", "client left")
MOST = 40


def answer_of(call: Call) -> str:
    if call.left:
        return "client left"
    if call.cut_off:
        return "cut off"
    if call.status == 503:
        return "503"
    return "granted" if 200 <= call.status < 400 else "refused"


def report(history: History, violations: list[Violation]) -> str:
    slowest = max((call.answered_at - call.sent_at for call in history.calls), default=0.0)
    lines = [
        f"{len(history.calls)} requests, {len(history.ends)} ends of which "
        f"{sum(end.acknowledged for end in history.ends)} were acknowledged, {len(history.faults)} faults, "
        f"{len(history.restores)} restores, {len(history.letters)} mails; "
        f"{sum(call.status == 503 for call in history.calls)} answers were 503, the slowest took {slowest:.1f} s",
        *(f"Left out: {each}" for each in history.left_out),
        "",
        *_requests(history),
        "",
        *_ends(history),
        "",
        *_mails(history),
        "",
        *_table("fault", "times", Counter(fault.kind for fault in history.faults)),
        "",
        f"Violations: {len(violations)}",
        *(f"- {each.rule}: {each.what}" for each in violations[:MOST]),
    ]
    return "\n".join(lines)


def _requests(history: History) -> list[str]:
    answers = Counter((call.action, answer_of(call)) for call in history.calls)
    return [
        f"| request | {' | '.join(ANSWERS)} |",
        f"|---|{'---:|' * len(ANSWERS)}",
        *(
            f"| {action} | {' | '.join(str(answers[action, answer]) for answer in ANSWERS)} |"
            for action in sorted({action for action, _ in answers})
        ),
    ]


def _ends(history: History) -> list[str]:
    ended = Counter((end.action, end.acknowledged) for end in history.ends)
    return [
        "| end | acknowledged | not acknowledged |",
        "|---|---:|---:|",
        *(f"| {each} | {ended[each, True]} | {ended[each, False]} |" for each in sorted({each for each, _ in ended})),
    ]


def _mails(history: History) -> list[str]:
    """Also of events that a restore has undone."""
    received = Counter(letter.kind for letter in history.letters)
    once = Counter(letter.kind for letter in first_copies(history.letters))
    delays: dict[str, list[float]] = {}
    alarms: Counter[str] = Counter()
    for alarm, letter in mails_of_alarms(history):
        alarms[alarm.kind] += 1
        if letter:
            delays.setdefault(alarm.kind, []).append(letter.received_at - alarm.recorded_at)
    return [
        "| mail | events in the database | mails | of them again | latest after |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {kind} | {alarms[kind] if kind in ALARMS else ''} | {received[kind]} | {received[kind] - once[kind]} | "
            f"{f'{max(delays[kind]):.0f} s' if kind in delays else ''} |"
            for kind in sorted({*received, *alarms})
        ),
    ]


def _table(what: str, number: str, counts: Counter[str]) -> list[str]:
    return [
        f"| {what} | {number} |",
        "|---|---:|",
        *(f"| {each} | {times} |" for each, times in sorted(counts.items())),
    ]
