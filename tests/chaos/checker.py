"""Checks a history against the contract. Each rule yields its violations."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos import mail_rules
from tests.chaos.fleet import CLOCK_OFFSETS, ENVIRONMENT
from tests.chaos.recorder import Call, End, Fault, History

# Seconds for which an ended credential may be accepted during a fault of Valkey, and after raw SQL.
BOUND = 1.0
# The same while broadcasts are lost and the database is unavailable too (DESIGN: the mirror is trusted).
DOUBLE_BOUND = 30.0
# Seconds for which the fault of a store may affect a node after it is over.
AFTERMATH = 4.0
# Wholesale ends, and the reason that the database stores.
WHOLESALE = {"password": "password_changed", "end others": "ended_by_user"}
# Seconds after which a request without a response may still be executed.
STUCK_FOR = 20.0
# Seconds after which a retry of a refresh with a lost response is reuse.
GRACE = float(ENVIRONMENT["REFRESH_GRACE_SECONDS"])
# The largest difference between two clocks of the fleet, and one second of rounding.
CLOCKS_APART = max(CLOCK_OFFSETS) - min(CLOCK_OFFSETS) + 1
# The longest response time in seconds.
MAX_SECONDS = 20.0
CONTRACT = {200, 201, 202, 204, 302, 400, 401, 403, 404, 429}


@dataclass(frozen=True)
class Violation:
    rule: str
    what: str


def check(history: History) -> list[Violation]:
    found = [(rule.__name__, what) for rule in RULES for what in rule(_Indexed(history))]
    found += [(rule.__name__, what) for rule in RULES_OF_MAILS for what in rule(history)]
    return [Violation(name.replace("_", " "), what) for name, what in found]


class _Indexed:
    def __init__(self, history: History) -> None:
        self.calls = history.calls
        self.faults = history.faults
        self.record = history.record
        self.restores = history.restores
        self.two_factor = history.two_factor
        self.ends = history.ends
        self.ends_of: dict[str, list[End]] = defaultdict(list)
        self.blocks_of: dict[str, list[End]] = defaultdict(list)
        self.ends_of_key: dict[str, list[End]] = defaultdict(list)
        for end in history.ends:
            for sid in end.sids:
                self.ends_of[sid].append(end)
            if end.jti:
                self.blocks_of[end.jti].append(end)
            for key in end.keys:
                self.ends_of_key[key].append(end)
        self.started_at = {call.sid: call.answered_at for call in history.calls if call.action == "sign in"}
        self.refreshes_of: dict[str, list[Call]] = defaultdict(list)
        for call in history.calls:
            if call.action == "refresh":
                self.refreshes_of[call.sid].append(call)

    def ends_for(self, call: Call) -> list[End]:
        ends = self.ends_of[call.sid]
        ends = ends + self.blocks_of[call.jti] if call.jti else ends
        return ends + self.ends_of_key[call.key] if call.key else ends

    def may_have_ended_late(self, call: Call) -> bool:
        """A wholesale end without a response may be executed later by a hanging node, after new sign-ins."""
        return any(
            WHOLESALE.get(end.action) == self.reason(call)
            and end.user == call.user
            and not end.acknowledged
            and end.sent_at <= call.answered_at
            and end.sent_at + STUCK_FOR >= call.sent_at
            for end in self.ends
        )

    def was_refreshed_late(self, call: Call, accepted_at: float) -> bool:
        """
        Whether a hanging node may have executed an abandoned refresh after its token had been rotated twice: then it is
        reuse. `accepted_at`: when a request of the sign-in was last accepted before the call.
        """
        refreshes = self.refreshes_of[call.sid]
        successors = {each.presented: each.returned for each in refreshes if each.accepted}
        presented = {each.presented for each in refreshes if each.sent_at <= call.answered_at}
        return any(
            is_unanswered(each)
            and successors.get(each.presented) in presented
            and each.sent_at <= call.answered_at
            and accepted_at <= each.sent_at + STUCK_FOR
            for each in refreshes
        )

    def is_of_a_slow_clock(self, call: Call) -> bool:
        """A restore ends what started before it by the clocks of the nodes: also what starts a moment later."""
        return any(
            each.began_at <= call.answered_at and self.started_at.get(call.sid, 0.0) <= each.over_at + CLOCKS_APART
            for each in self.restores
        )

    def reason(self, call: Call) -> str:
        """Returns why its sign-in has ended, by the database; empty if it is live."""
        return self.record.reasons.get(call.sid, "").partition(" ")[0] if self.record else ""

    def is_undone(self, since: float, until: float) -> bool:
        """Whether a restore may have undone what happened in this time."""
        return any(each.backup_began_at <= until and since <= each.over_at for each in self.restores)

    def faults_between(self, since: float, until: float) -> list[Fault]:
        return [fault for fault in self.faults if fault.began <= until and since <= fault.over + AFTERMATH]

    def troubled(self, part: str, since: float, until: float) -> bool:
        return any(fault.part == part for fault in self.faults_between(since, until))

    def lost_its_worker(self, call: Call) -> bool:
        """A response may be truncated if its worker was killed or stopped."""
        return call.cut_off and any(
            fault.stops_workers for fault in self.faults_between(call.sent_at, call.answered_at)
        )

    def bound(self, end: End, call: Call) -> float:
        """Returns the bound in seconds after the end was acknowledged. The same in both modes."""
        # A refresh reads the database.
        if call.action == "refresh":
            return 0.0
        # Raw SQL and a restore are not broadcast, as if the broadcast of any other end was lost.
        if not (end.is_raw_sql or end.is_restore) and not self.troubled("valkey", end.sent_at, call.answered_at):
            return 0.0
        return DOUBLE_BOUND if self.troubled("postgres", end.sent_at, call.answered_at) else BOUND


def is_unanswered(refresh: Call) -> bool:
    """Whether the client cannot know if the refresh was executed."""
    return refresh.left or refresh.status in (0, 503)


def nothing_is_accepted_after_its_end(history: _Indexed) -> Iterator[str]:
    for call in history.calls:
        # To sign out of an ended sign-in, or to block its token, is not an error and gives no access.
        if not call.accepted or call.action in ("sign in", "sign out", "block"):
            continue
        for end in history.ends_for(call):
            # Sent after the bound, so decided after it.
            late = call.sent_at - end.answered_at - history.bound(end, call)
            if end.acknowledged and late > 0:
                yield (
                    f"{call.action} ({call.mode}, {call.node}) of {call.sid} was accepted "
                    f"{call.sent_at - end.answered_at:.2f} s after {end.action} was acknowledged"
                )


def no_client_is_signed_out_without_cause(history: _Indexed) -> Iterator[str]:
    lost: dict[str, float] = {}
    accepted_at: dict[str, float] = defaultdict(float)
    # In order of the responses: a client calls sequentially.
    for call in sorted(history.calls, key=lambda call: call.answered_at):
        if call.action == "refresh" and is_unanswered(call):
            lost.setdefault(call.presented, call.sent_at)
        if call.accepted and call.action not in ("sign out", "block"):
            accepted_at[call.sid] = max(accepted_at[call.sid], call.sent_at)
        refused = call.status == 401 or (call.status == 302 and call.mode == "session")
        if not refused or not call.sid or call.action == "sign in":
            continue
        expired = call.expires < call.answered_at
        ended = any(end.sent_at <= call.answered_at for end in history.ends_for(call))
        ended = ended or history.may_have_ended_late(call) or history.is_of_a_slow_clock(call)
        # Decided at any time before the response.
        theft = call.presented in lost and call.answered_at - lost[call.presented] > GRACE - CLOCKS_APART
        theft = theft or history.was_refreshed_late(call, accepted_at[call.sid])
        if not (expired or ended or (theft and history.reason(call) == "token_reused")):
            reason = history.record.reasons.get(call.sid, "live") if history.record else "unknown"
            yield (
                f"{call.action} ({call.mode}, {call.node}) of {call.sid} was refused with {call.status} at "
                f"{call.sent_at:.2f} without an end; in the database it is {reason}; {call.said}"
            )


def no_user_sees_another(history: _Indexed) -> Iterator[str]:
    for call in history.calls:
        if others := call.about - {call.user}:
            yield f"{call.action} ({call.mode}, {call.node}) by {call.user} got data of {', '.join(sorted(others))}"


def no_family_forks(history: _Indexed) -> Iterator[str]:
    successors: dict[str, set[str]] = defaultdict(set)
    for call in history.calls:
        if call.presented and call.accepted:
            successors[call.presented].add(call.returned)
    for presented, returned in successors.items():
        if len(returned) > 1:
            yield f"the refresh token {presented} has {len(returned)} successors"
    predecessors = Counter(each for returned in successors.values() for each in returned)
    for returned_id, times in predecessors.items():
        if times > 1:
            yield f"{times} refresh tokens have the successor {returned_id}"


def every_response_is_in_the_contract(history: _Indexed) -> Iterator[str]:
    for call in history.calls:
        if call.left:
            continue
        if call.answered_at - call.sent_at > MAX_SECONDS:
            yield f"{call.action} took {call.answered_at - call.sent_at:.1f} s"
        if call.status == 503:
            if not call.retry_after.isdecimal():
                yield f"{call.action} ({call.node}) was a 503 without Retry-After"
        elif call.status not in CONTRACT and not history.lost_its_worker(call):
            where = f"{call.action} ({call.mode}, {call.node})"
            yield f"{where} was answered with {call.status} at {call.sent_at:.2f}; {call.said}"


def no_acknowledged_change_is_lost(history: _Indexed) -> Iterator[str]:
    record = history.record
    if record is None:
        yield "the content of the database was never read"
        return
    undone = set()
    for call in history.calls:
        if call.action != "sign in" or not call.sid:
            continue
        if history.is_undone(call.sent_at, call.answered_at):
            undone.add(call.sid)
        elif not record.events.get(("signed_in", call.sid)):
            yield f"the sign-in {call.sid} has no event"
    by_sql = {sid for end in history.ends if end.is_raw_sql for sid in end.sids}
    for end in history.ends:
        if end.is_restore:
            for sid in end.sids & record.unended:
                yield f"{sid} has not ended after a restore"
            continue
        if not end.acknowledged or history.is_undone(end.sent_at, end.answered_at):
            continue
        for key in end.keys & record.keys:
            yield f"{end.action} of the session key {key} is lost"
        refused_only = raw_sql_deletes_sessions(end)
        for sid in () if refused_only else end.sids & by_sql & record.unended:
            yield f"{end.action} of {sid} is lost"
        # All tokens of a sign-in that has ended, or whose row raw SQL has deleted, are refused: a block adds nothing.
        if end.jti and end.jti not in record.blocked and end.by not in record.ended | undone | by_sql - record.unended:
            yield f"the block of token {end.jti} is lost"
        # Raw SQL deletes rows and records no event.
        for sid in end.sids - record.ended - by_sql - undone:
            yield f"{end.action} of {sid} is lost"
        for sid in end.sids & record.ended - by_sql:
            if not any(record.events.get((kind, sid)) for kind in ("signed_out", "sign_in_ended")):
                yield f"{end.action} of {sid} has no event"
    changes = Counter(
        end.user
        for end in history.ends
        if end.acknowledged and end.action == "password" and not history.is_undone(end.sent_at, end.answered_at)
    )
    for user, times in changes.items():
        if record.events.get(("password_changed", user), 0) < times:
            yield f"{times} password changes of {user} have too few events"


def raw_sql_deletes_sessions(end: End) -> bool:
    """Then the tokens of the sign-ins are refused, and the rows of the sign-ins do not end."""
    return end.action == "raw SQL: delete sessions"


def nothing_is_half_done(history: _Indexed) -> Iterator[str]:
    record = history.record
    if record is None:
        return
    yield from record.half_done
    for sid in sorted(record.unended | record.reasons.keys()):
        if not record.events.get(("signed_in", sid)):
            yield f"the sign-in {sid} is in the database, and has no event"
    for sid in sorted(record.reasons):
        reason = record.reasons[sid].partition(" ")[0]
        # Raw SQL ends for other reasons, without an event.
        if reason in ("signed_out", "ended_by_user", "token_reused"):
            kind = "signed_out" if reason == "signed_out" else "sign_in_ended"
            if not record.events.get((kind, sid)):
                yield f"{sid} has ended ({reason}) without an event"
        if reason == "token_reused" and not record.events.get((reason, sid)):
            yield f"{sid} has ended ({reason}) without an alarm"


def no_honest_client_is_called_a_thief(history: _Indexed) -> Iterator[str]:
    robbed = {sid for end in history.ends if end.action == "theft" for sid in end.sids}
    accused = {sid for (kind, sid) in (history.record.events if history.record else ()) if kind == "token_reused"}
    for sid in sorted(accused - robbed):
        # A retry of a refresh without a response may come too late.
        if not any(is_unanswered(each) for each in history.refreshes_of[sid]):
            yield f"{sid} has ended as stolen, and its client received every response"


def no_sign_in_skips_its_second_step(history: _Indexed) -> Iterator[str]:
    for call in history.calls:
        if call.action == "sign in" and call.sid and call.user in history.two_factor and not call.code:
            yield f"the sign-in {call.sid} ({call.mode}, {call.node}) of {call.user} had no second step"


def no_code_is_accepted_twice(history: _Indexed) -> Iterator[str]:
    accepted: dict[str, Call] = {}
    for call in sorted(history.calls, key=lambda call: call.answered_at):
        if not call.code or not (call.accepted or (call.action == "sign in" and call.sid)):
            continue
        before = accepted.setdefault(call.code, call)
        # A restore makes the recovery codes of the backup valid again.
        undone = "recovery code" in call.code and history.is_undone(before.sent_at, before.answered_at)
        if before is not call and not undone:
            yield f"{call.action} ({call.mode}, {call.node}): {call.code} was accepted a second time"


RULES = (
    nothing_is_accepted_after_its_end,
    no_client_is_signed_out_without_cause,
    no_user_sees_another,
    no_family_forks,
    every_response_is_in_the_contract,
    no_acknowledged_change_is_lost,
    nothing_is_half_done,
    no_honest_client_is_called_a_thief,
    no_sign_in_skips_its_second_step,
    no_code_is_accepted_twice,
)
RULES_OF_MAILS = (mail_rules.every_alarm_is_mailed, mail_rules.no_mail_goes_to_the_wrong_address)
