"""The checker finds alarms without a mail, and mails to the wrong address."""

from dataclasses import replace

import pytest

from tests.chaos.made_history import RECORD, rules
from tests.chaos.mail_rules import MAIL_SECONDS
from tests.chaos.recorder import Alarm, Fault, Letter

ALARM = Alarm("token_reused", "ann", "10.0.0.1", 100)
MAIL = Letter(
    "token_reused", "ann@example.org", 102, "ann@example.org", frozenset({"ann"}), frozenset({"10.0.0.1"}), "1"
)
ALARMED = replace(RECORD, alarms=(ALARM,))
NOT_MAILED, MISDIRECTED = ["every alarm is mailed"], ["no mail goes to the wrong address"]


def test_an_alarm_without_a_mail_is_found() -> None:
    assert rules([], record=ALARMED, letters=[MAIL]) == []
    assert rules([], record=ALARMED, letters=[]) == NOT_MAILED


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "password_changed"},
        {"ip_addresses": frozenset({"10.0.0.2"})},
        {"received_at": 60.0},
        {"to": "bob@example.org", "header_to": "bob@example.org", "names": frozenset({"bob"})},
    ],
)
def test_the_mail_of_another_alarm_does_not_count(changes: dict[str, object]) -> None:
    assert rules([], record=ALARMED, letters=[replace(MAIL, **changes)]) == NOT_MAILED


def test_two_equal_alarms_need_two_mails() -> None:
    record = replace(RECORD, alarms=(ALARM, replace(ALARM, recorded_at=110)))
    again = replace(MAIL, received_at=112)
    assert rules([], record=record, letters=[MAIL, replace(again, id="2")]) == []
    # A mail that came twice is one mail.
    assert rules([], record=record, letters=[MAIL, again]) == NOT_MAILED


@pytest.mark.parametrize(
    ("faults", "good"),
    [
        ([], False),
        ([Fault("away", 101, 399, "mail server")], True),
        ([Fault("away", 101, 250, "mail server"), Fault("paused", 240, 399, "postgres")], True),
        ([Fault("away", 101, 399, "valkey")], False),
        ([Fault("away", 101, 150, "mail server")], False),
        ([Fault("away", 410, 800, "mail server")], False),
    ],
)
def test_a_late_mail_is_found(faults: list[Fault], good: bool) -> None:
    late = replace(MAIL, received_at=300 + MAIL_SECONDS)
    assert rules([], faults=faults, record=ALARMED, letters=[late]) == ([] if good else NOT_MAILED)


@pytest.mark.parametrize(
    "changes",
    [
        {"to": "bob@example.org"},
        {"header_to": "bob@example.org"},
        {"names": frozenset({"bob"})},
        {"names": frozenset({"ann", "bob"})},
    ],
)
def test_a_mail_to_the_wrong_address_is_found(changes: dict[str, object]) -> None:
    assert set(rules([], record=RECORD, letters=[MAIL, replace(MAIL, id="2", **changes)])) == set(MISDIRECTED)
