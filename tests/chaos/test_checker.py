"""The checker finds violations of the contract in a history, and nothing else."""

from dataclasses import replace

import pytest

from tests.chaos.checker import check
from tests.chaos.made_history import CALL, END, EVENTS, POSTGRES, RECORD, REUSED, SIGN_IN, VALKEY, at, rules
from tests.chaos.recorder import RESTORE, End, Fault, History, Record, Restore


def test_a_valid_history_passes() -> None:
    assert rules([CALL, at(2.05), at(2.2, status=401)], [END]) == []


@pytest.mark.parametrize("mode", ["token", "session"])
def test_a_call_that_succeeds_after_its_end_is_found(mode: str) -> None:
    assert rules([at(2.2, mode=mode)], [END]) == ["nothing is accepted after its end"]


@pytest.mark.parametrize(
    ("sent_at", "faults", "changes", "good"),
    [
        (3.0, [VALKEY], {}, True),
        (3.2, [VALKEY], {}, False),
        (3.0, [POSTGRES], {}, False),
        (3.0, [VALKEY], {"mode": "session"}, True),
        (3.2, [VALKEY], {"mode": "session"}, False),
        (2.2, [], {"mode": "session"}, False),
        (30.0, [VALKEY, POSTGRES], {"mode": "session"}, True),
        (33.0, [VALKEY, POSTGRES], {"mode": "session"}, False),
        (3.0, [VALKEY], {"action": "refresh", "presented": "a", "returned": "b"}, False),
        (30.0, [VALKEY, POSTGRES], {}, True),
        (33.0, [VALKEY, POSTGRES], {}, False),
        (2.9, [replace(VALKEY, began=-60, over=-50)], {}, False),
    ],
)
def test_the_bound_depends_on_the_current_faults(
    sent_at: float, faults: list[Fault], changes: dict[str, str], good: bool
) -> None:
    assert rules([at(sent_at, **changes)], [END], faults) == ([] if good else ["nothing is accepted after its end"])


def test_an_unacknowledged_end_may_have_happened_or_not() -> None:
    end = replace(END, acknowledged=False)
    assert rules([at(3), at(4, status=401)], [end]) == []


def test_a_blocked_token_does_not_affect_others() -> None:
    block = End("block", 2, 2.1, True, "ann", frozenset(), jti="j")
    record = replace(RECORD, blocked=frozenset({"j"}))
    assert rules([at(3, jti="other")], [block], record=record) == []
    assert rules([at(3)], [block], record=record) == ["nothing is accepted after its end"]
    assert rules([], [block]) == ["no acknowledged change is lost"]
    assert rules([], [replace(block, by="s")]) == []
    assert rules([], [replace(block, by="another")]) == ["no acknowledged change is lost"]
    deletion = End("raw SQL: delete", 1, 1.1, True, "ann", frozenset({"gone"}))
    assert rules([], [deletion, replace(block, by="gone")]) == []
    unended = replace(RECORD, unended=frozenset({"gone"}))
    lost = "no acknowledged change is lost"
    assert rules([], [deletion, replace(block, by="gone")], record=unended).count(lost) == 2


@pytest.mark.parametrize("changes", [{"status": 401}, {"status": 302, "mode": "session"}])
def test_a_refusal_without_an_end_is_found(changes: dict[str, object]) -> None:
    assert rules([at(3, **changes)]) == ["no client is signed out without cause"]


def test_a_response_about_another_user_is_found() -> None:
    assert rules([at(1, about=frozenset({"ann"}))]) == []
    assert rules([at(1, about=frozenset({"ann", "bob"}))]) == ["no user sees another"]


def test_a_refusal_before_the_end_was_requested_is_found() -> None:
    assert rules([at(1.5, status=401)], [END]) == ["no client is signed out without cause"]


def test_a_wholesale_end_without_response_may_take_effect_late() -> None:
    end = End("end others", 0.5, 30, False, "ann", frozenset({"another"}))
    ended = EVENTS | {("sign_in_ended", "s"): 1}
    record = replace(RECORD, reasons={"s": "ended_by_user at 12:00"}, events=ended)
    assert rules([at(3, status=401)], [end], record=record) == []
    assert rules([at(3, status=401)], [end]) == ["no client is signed out without cause"]
    assert rules([at(3, status=401)], [replace(end, action="password")], record=record) != []
    assert rules([at(30, status=401)], [end]) == ["no client is signed out without cause"]
    assert rules([at(3, status=401, user="bob")], [end]) == ["no client is signed out without cause"]


@pytest.mark.parametrize("mode", ["token", "session"])
@pytest.mark.parametrize(
    ("sent_at", "faults", "changes", "good"),
    [
        (3.0, [], {}, True),
        (3.2, [], {}, False),
        (3.2, [VALKEY], {}, False),
        (30.0, [POSTGRES], {}, True),
        (33.0, [POSTGRES], {}, False),
        (2.2, [], {"action": "refresh", "presented": "a", "returned": "b"}, False),
    ],
)
def test_raw_sql_is_seen_within_a_second(
    mode: str, sent_at: float, faults: list[Fault], changes: dict[str, str], good: bool
) -> None:
    call = at(sent_at, mode=mode, **changes)
    end = replace(END, action="raw SQL: end")
    assert rules([call], [end], faults) == ([] if good else ["nothing is accepted after its end"])


def test_raw_sql_that_is_lost_is_found() -> None:
    end = replace(END, action="raw SQL: end")
    record = replace(RECORD, ended=frozenset(), events={("signed_in", "s"): 1})
    assert rules([], [end], record=record) == []
    assert rules([], [end, END], record=record) == []
    assert rules([], [end], record=replace(record, unended=frozenset({"s"}))) == ["no acknowledged change is lost"]


REPLACED = End("confirm", 2, 2.1, True, "ann", frozenset(), by="s", keys=frozenset({"k"}))


def test_a_replaced_session_key_that_is_accepted_is_found() -> None:
    old, new = (at(2.2, mode="session", key=key) for key in ("k", "new"))
    assert rules([new], [REPLACED]) == []
    assert rules([replace(old, status=401)], [REPLACED]) == []
    assert rules([old], [REPLACED]) == ["nothing is accepted after its end"]
    assert rules([old], [REPLACED], [VALKEY]) == []
    assert rules([at(3.2, mode="session", key="k")], [REPLACED], [VALKEY]) == ["nothing is accepted after its end"]


def test_a_session_key_that_is_still_stored_is_found() -> None:
    assert rules([], [REPLACED], record=replace(RECORD, keys=frozenset({"new"}))) == []
    assert rules([], [REPLACED], record=replace(RECORD, keys=frozenset({"k"}))) == ["no acknowledged change is lost"]


def test_a_browser_whose_new_key_was_lost_may_be_refused() -> None:
    change = End("password", 0.5, 30, False, "ann", frozenset({"another"}), by="s", keys=frozenset({"k"}))
    refused = at(40, status=302, mode="session", key="k")
    assert rules([refused], [change]) == []
    assert rules([replace(refused, key="new")], [change]) == ["no client is signed out without cause"]
    assert rules([replace(refused, mode="token", status=401, key="")], [change]) != []


def test_an_expired_token_may_be_refused() -> None:
    assert rules([at(3, status=401, expires=3)]) == []


def test_a_refresh_repeated_too_late_counts_as_reuse() -> None:
    lost = at(3, action="refresh", status=0, presented="a", left=True)
    record = replace(RECORD, reasons={"s": "token_reused at 12:00"}, events=REUSED)
    late, stuck, soon = (at(seconds, action="refresh", status=401, presented="a") for seconds in (40, 10, 5))
    assert rules([lost, late], record=record) == []
    assert rules([lost, replace(stuck, answered_at=18)], record=record) == []
    assert rules([lost, soon], record=record) == ["no client is signed out without cause"]
    assert rules([lost, late]) == ["no client is signed out without cause"]


def test_an_abandoned_refresh_may_be_executed_late() -> None:
    """A hanging node executes it when its token has been rotated twice."""
    lost = at(3, action="refresh", status=0, presented="a", left=True)
    retried = at(4, action="refresh", presented="a", returned="b")
    again = at(5, action="refresh", presented="b", returned="c")
    refused = at(9, status=401)
    record = replace(RECORD, reasons={"s": "token_reused at 12:00"}, events=REUSED)
    signed_out = ["no client is signed out without cause"]
    assert rules([lost, retried, again, refused], record=record) == []
    assert rules([lost, retried, again, refused]) == signed_out
    assert rules([lost, retried, refused], record=record) == signed_out
    assert rules([retried, again, refused], record=record) == [*signed_out, "no honest client is called a thief"]
    # It was accepted after the time in which a hanging node may execute a request.
    assert rules([lost, retried, again, at(24), at(25, status=401)], record=record) == signed_out


def test_a_forked_refresh_family_is_found() -> None:
    refresh = at(3, action="refresh", presented="a", returned="b")
    assert rules([refresh, refresh]) == []
    assert rules([refresh, replace(refresh, returned="c")]) == ["no family forks"]
    assert rules([refresh, replace(refresh, presented="x")]) == ["no family forks"]


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({"status": 500}, False),
        ({"status": 502}, False),
        ({"status": 0}, False),
        ({"status": 0, "left": True}, True),
        ({"status": 503}, False),
        ({"status": 503, "retry_after": "2"}, True),
        ({"answered_at": 60.0}, False),
        ({"status": 404}, True),
    ],
)
def test_a_response_outside_the_contract_is_found(changes: dict[str, object], good: bool) -> None:
    assert rules([replace(CALL, **changes)]) == ([] if good else ["every response is in the contract"])


@pytest.mark.parametrize(
    ("faults", "good"),
    [
        ([], False),
        ([POSTGRES], False),
        ([Fault("worker killed", 1.05, 1.06, "node")], True),
        ([Fault("killed -9 between commit and broadcast", 0.5, 1.05, "valkey")], True),
        ([Fault("worker killed", 1.2, 1.3, "node")], False),
        ([Fault("worker killed", -9, -8, "node")], False),
    ],
)
def test_a_truncated_response_is_found(faults: list[Fault], good: bool) -> None:
    calls = [replace(CALL, status=0, cut_off=True)]
    assert rules(calls, faults=faults) == ([] if good else ["every response is in the contract"])


@pytest.mark.parametrize(
    "record",
    [
        replace(RECORD, ended=frozenset()),
        replace(RECORD, events={("signed_in", "s"): 1}),
        replace(RECORD, events={("signed_out", "s"): 1}),
    ],
)
def test_a_lost_event_is_found(record: Record) -> None:
    assert rules([], [END], record=record) == ["no acknowledged change is lost"]


def test_a_password_change_without_its_event_is_found() -> None:
    change = End("password", 2, 2.1, True, "ann", frozenset())
    good = replace(RECORD, events={**RECORD.events, ("password_changed", "ann"): 1})
    assert rules([], [change, change], record=good) == ["no acknowledged change is lost"]
    assert rules([], [change], record=good) == []


# Restores

RESTORED = Restore(backup_began_at=1.5, began_at=4, over_at=6)
RESTORE_END = End(RESTORE, 4, 6, True, "", frozenset({"s"}))


def test_a_sign_in_that_a_restore_has_not_ended_is_found() -> None:
    assert rules([at(3), at(6.9), at(7.1, status=401)], [RESTORE_END], restores=[RESTORED]) == []
    assert rules([at(7.1)], [RESTORE_END], restores=[RESTORED]) == ["nothing is accepted after its end"]
    assert rules([at(7.1, mode="session")], [RESTORE_END], restores=[RESTORED]) != []
    record = replace(RECORD, ended=frozenset(), unended=frozenset({"s"}))
    assert rules([], [RESTORE_END], record=record, restores=[RESTORED]) == ["no acknowledged change is lost"]


def test_a_restore_may_end_what_starts_on_a_slow_clock() -> None:
    restored = Restore(backup_began_at=-20, began_at=-10, over_at=-5)
    assert rules([at(3, status=401)], restores=[restored]) == []
    earlier = replace(restored, backup_began_at=-90, began_at=-60, over_at=-50)
    assert rules([at(3, status=401)], restores=[earlier]) == ["no client is signed out without cause"]


def test_a_change_before_the_backup_that_is_lost_is_found() -> None:
    lost = Record(frozenset(), frozenset(), {("signed_in", "s"): 1})
    assert rules([], [END], record=lost, restores=[RESTORED]) == []
    later = replace(RESTORED, backup_began_at=2.2)
    assert rules([], [END], record=lost, restores=[later]) == ["no acknowledged change is lost"]


def test_an_end_before_the_backup_that_is_undone_is_found() -> None:
    end = replace(END, sent_at=1, answered_at=1.1)
    assert rules([at(7)], [end], restores=[RESTORED]) == ["nothing is accepted after its end"]


def test_a_sign_in_after_the_backup_may_be_unknown() -> None:
    lost = Record(frozenset(), frozenset(), {})
    assert rules([], record=lost, restores=[replace(RESTORED, backup_began_at=0.05)]) == []
    assert rules([], record=lost, restores=[RESTORED]) == ["no acknowledged change is lost"]
    # To sign out of it later, or to block its token, is no error.
    later = replace(END, sent_at=7, answered_at=7.1)
    block = replace(later, action="block", sids=frozenset(), jti="j", by="s")
    assert rules([], [later, block], record=lost, restores=[replace(RESTORED, backup_began_at=0.05)]) == []


# Half-done changes, thefts and second steps


@pytest.mark.parametrize(
    "record",
    [
        replace(RECORD, half_done=("a session without a sign-in",)),
        replace(RECORD, unended=frozenset({"another"})),
        replace(RECORD, reasons={"s": "signed_out at 12:00"}, events={("signed_in", "s"): 1}),
        replace(RECORD, reasons={"s": "ended_by_user at 12:00"}),
        replace(RECORD, reasons={"s": "token_reused at 12:00"}, events=EVENTS | {("sign_in_ended", "s"): 1}),
    ],
)
def test_a_change_without_its_event_is_found(record: Record) -> None:
    assert rules([], record=record) == ["nothing is half done"]


def test_raw_sql_ends_without_an_event() -> None:
    record = replace(RECORD, reasons={"s": "ended_by_staff at 12:00"}, events={("signed_in", "s"): 1})
    assert rules([], record=record) == []


def test_an_honest_client_that_is_called_a_thief_is_found() -> None:
    record = replace(RECORD, events=REUSED, reasons={"s": "token_reused at 12:00"})
    theft = replace(END, action="theft")
    lost = at(3, action="refresh", status=503, retry_after="2", presented="a")
    assert rules([], [theft], record=record) == []
    assert rules([lost], record=record) == []
    assert rules([], record=record) == ["no honest client is called a thief"]
    assert rules([replace(lost, status=200, returned="b")], record=record) == ["no honest client is called a thief"]


def test_a_stolen_refresh_token_that_is_accepted_is_found() -> None:
    first = at(1, action="refresh", presented="a", returned="b")
    theft = at(2, action="theft", presented="a", returned="x")
    assert rules([first, replace(theft, status=401)], [replace(END, action="theft")]) == []
    assert rules([first, theft]) == ["no family forks"]


def test_a_sign_in_without_its_second_step_is_found() -> None:
    two_factor = frozenset({"ann"})
    assert rules([], two_factor=two_factor) == ["no sign in skips its second step"]
    assert [
        each.rule for each in check(History([replace(SIGN_IN, code="c")], record=RECORD, two_factor=two_factor))
    ] == []


@pytest.mark.parametrize("action", ["replayed code", "end", "sign in"])
def test_a_code_that_is_accepted_twice_is_found(action: str) -> None:
    first, again = (at(when, action=action, code="ann recovery code c") for when in (1, 2.2))
    assert rules([first, replace(again, status=401, sid="")], [END]) == []
    assert rules([first, replace(again, code="d")], []) == []
    assert rules([first, again]) == ["no code is accepted twice"]
    undone = Restore(backup_began_at=0.5, began_at=1.5, over_at=2)
    assert rules([first, again], restores=[undone]) == []
    assert rules([first, again], restores=[replace(undone, backup_began_at=1.2)]) == ["no code is accepted twice"]
    of_app = [replace(each, code="ann totp 7") for each in (first, again)]
    assert rules(of_app, restores=[undone]) == ["no code is accepted twice"]
