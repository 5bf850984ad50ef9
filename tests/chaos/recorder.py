"""What clients asked and were told, and what was done to the fleet; times are seconds on one monotonic clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field

FOREVER = float("inf")


@dataclass(frozen=True)
class Call:
    """One request. `status` 0: no answer came."""

    action: str
    asked: float
    told: float
    status: int
    # The sign-in that it was made with or that it started.
    sid: str = ""
    user: str = ""
    mode: str = ""
    node: str = ""
    retry_after: str = ""
    # Of a refresh: the id of the token presented, and of the one that came back.
    presented: str = ""
    returned: str = ""
    # Of an access token: its id, and when it expires by the clock of the checker.
    jti: str = ""
    expires: float = FOREVER
    # Of a refusal: what was asked for, and what was said.
    said: str = ""
    # The names in the answer.
    about: frozenset[str] = frozenset()
    # The client went away before the answer.
    left: bool = False
    # The answer had begun, and ended too soon.
    cut_off: bool = False

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True)
class End:
    """Something that ends sign-ins, or blocks one token (`jti`). Not acknowledged: it may have happened, or may yet."""

    action: str
    asked: float
    told: float
    acknowledged: bool
    user: str
    sids: frozenset[str]
    jti: str = ""
    # The sign-in that asked for it.
    by: str = ""


@dataclass(frozen=True)
class Fault:
    kind: str
    began: float
    over: float
    # Which promise it touches: "valkey", "postgres", "node", "client".
    part: str

    @property
    def stops_workers(self) -> bool:
        return self.part == "node" or self.kind.startswith("killed -9")


@dataclass(frozen=True)
class Record:
    """What the database holds at the end."""

    ended: frozenset[str]
    blocked: frozenset[str]
    # Type of event and sid, or the name of the user where there is no sid.
    events: Mapping[tuple[str, str], int]
    # Why each sign-in has ended.
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass
class History:
    calls: list[Call] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    record: Record | None = None
