"""Made histories for tests of the checker."""

from dataclasses import replace

from tests.chaos.checker import check
from tests.chaos.recorder import Call, End, Fault, History, Record

SIGN_IN = Call("sign in", 0, 0.1, 200, sid="s", user="ann", mode="token")
CALL = Call("call", 1, 1.1, 200, sid="s", user="ann", mode="token", jti="j")
END = End("sign out", 2, 2.1, True, "ann", frozenset({"s"}))
EVENTS = {("signed_in", "s"): 1, ("signed_out", "s"): 1}
RECORD = Record(frozenset({"s"}), frozenset(), EVENTS)
# Of an ended sign-in whose refresh token was used twice.
REUSED = {("signed_in", "s"): 1, ("sign_in_ended", "s"): 1, ("token_reused", "s"): 1}
VALKEY = Fault("killed", 1.5, 3, "valkey")
POSTGRES = Fault("paused", 1.5, 3, "postgres")


def rules(
    calls: list[Call], ends: list[End] = (), faults: list[Fault] = (), record: Record = RECORD, **more: object
) -> list[str]:
    history = History([SIGN_IN, *calls], list(ends), list(faults), record=record, **more)
    return [each.rule for each in check(history)]


def at(seconds: float, **changes: object) -> Call:
    return replace(CALL, sent_at=seconds, answered_at=seconds + 0.1, **changes)
