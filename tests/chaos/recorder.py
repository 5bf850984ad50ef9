"""The recorded history: requests and responses, faults, and ends; times are seconds on one monotonic clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field

FOREVER = float("inf")
RESTORE = "restore"


@dataclass(frozen=True)
class Call:
    """One request. `status` 0: no response."""

    action: str
    sent_at: float
    answered_at: float
    status: int
    # The sign-in of the request, or the one that it started.
    sid: str = ""
    user: str = ""
    mode: str = ""
    node: str = ""
    retry_after: str = ""
    # Of a refresh: the id of the presented token and of its successor.
    presented: str = ""
    returned: str = ""
    # Of an access token: its id, and when it expires by the clock of the checker.
    jti: str = ""
    expires: float = FOREVER
    # Of a cookie: the id of the session key.
    key: str = ""
    # The code of a second factor in the request: the user, its kind, and the code or its time step.
    code: str = ""
    # Of a refusal: the request, and the response.
    said: str = ""
    # The names in the response.
    about: frozenset[str] = frozenset()
    # The client disconnected before the response.
    left: bool = False
    # The response was truncated.
    cut_off: bool = False

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True)
class End:
    """
    An end of sign-ins, or a block of one token (`jti`), or a replacement or deletion of session keys. Unacknowledged:
    it may be executed, now or later.
    """

    action: str
    sent_at: float
    answered_at: float
    acknowledged: bool
    user: str
    sids: frozenset[str]
    jti: str = ""
    # The sign-in of the request.
    by: str = ""
    keys: frozenset[str] = frozenset()

    @property
    def is_raw_sql(self) -> bool:
        """Whether a connection past the nodes executed it."""
        return self.action.startswith("raw SQL")

    @property
    def is_restore(self) -> bool:
        """Whether it ended every sign-in from before a restore."""
        return self.action == RESTORE


@dataclass(frozen=True)
class Fault:
    kind: str
    began: float
    over: float
    # The affected part: "valkey", "postgres", "node", "mail server", "mail worker".
    part: str

    @property
    def stops_workers(self) -> bool:
        return self.part == "node" or self.kind.startswith("killed -9")


@dataclass(frozen=True)
class Restore:
    """The database was set back to a backup: what happened after the backup began is lost."""

    backup_began_at: float
    began_at: float
    over_at: float


@dataclass(frozen=True)
class Letter:
    """A mail that the mail server has received. `to` is the envelope's address."""

    kind: str
    to: str
    received_at: float
    # The addresses of its header, and the names and IP addresses in its text.
    header_to: str = ""
    names: frozenset[str] = frozenset()
    ip_addresses: frozenset[str] = frozenset()
    id: str = ""


@dataclass(frozen=True)
class Alarm:
    """A security event whose user must get a mail. `recorded_at` is by the clock of the node."""

    kind: str
    user: str
    ip_address: str
    recorded_at: float


@dataclass(frozen=True)
class Record:
    """The content of the database at the end."""

    ended: frozenset[str]
    blocked: frozenset[str]
    # Type of event and sid, or the name of the user without a sid.
    events: Mapping[tuple[str, str], int]
    # Why each sign-in has ended.
    reasons: Mapping[str, str] = field(default_factory=dict)
    # The sign-ins that have not ended, and the ids of the stored session keys.
    unended: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    alarms: tuple[Alarm, ...] = ()
    # What no transaction may leave behind, in words.
    half_done: tuple[str, ...] = ()


@dataclass
class History:
    calls: list[Call] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    restores: list[Restore] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    # The users with a second factor.
    two_factor: frozenset[str] = frozenset()
    # Faults that this machine does not allow.
    left_out: list[str] = field(default_factory=list)
    record: Record | None = None
