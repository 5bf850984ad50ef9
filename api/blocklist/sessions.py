"""
Session mode without a statement: a session store that remembers the sessions that the process has checked.

A remembered session is accepted while the blocklist mirror is current and blocks neither its sign-in, its key nor its
user. In all other cases the session is read from the database, as accounts.sessions does.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

from accounts import sessions
from accounts.compiled_queries import partial_instance
from accounts.models import SignIn, User
from api.blocklist.mirror import mirror
from api.blocklist.models import session_key_id
from api.dbsc import binding
from api.dbsc import sessions as dbsc

# Each takes about 1.5 kB of memory.
MAX_REMEMBERED = 10_000
MAX_USERNAME_LENGTH = 150
# The other fields are read from the database when they are accessed. None of them is a secret.
SIGN_IN_FIELDS = (
    "id",
    "user_id",
    "kind",
    "created_at",
    "last_seen_at",
    "idle_timeout",
    "expires_at",
    "key_thumbprint",
    "bound_at",
    "max_age",
    "actor_sid",
)
USER_FIELDS = ("id", "username")


class RememberedSession(NamedTuple):
    """A live sign-in by a session or an API key, as it was read. Immutable: each request builds its own instances."""

    # Before the statement that read it, on the monotonic clock, in seconds; and the database that it was read from.
    read_at: float
    store_number: int
    # When the session expires or its use has to be recorded, in seconds since 1970.
    until: float
    # What the blocklist calls the session key. Of an API key: the sid.
    key_id: UUID
    sign_in: Mapping[str, Any]
    user: Mapping[str, Any]

    def is_valid(self) -> bool:
        """Whether the session can be accepted without a statement."""
        return (
            time.monotonic() - self.read_at < settings.SESSION_RECHECK.total_seconds()
            and time.time() < self.until
            and mirror.blocks_if_current(self.sign_in["id"], self.key_id, self.user["id"]) is False
            # After the check, in which the mirror may detect another database.
            and mirror.store_number == self.store_number
        )

    def build(self) -> SignIn:
        """Returns a new instance of the sign-in, with its user."""
        sign_in = partial_instance(SignIn, self.sign_in)
        sign_in._state.fields_cache["user"] = partial_instance(User, self.user)
        return sign_in


class RememberedSessions:
    """The sessions that this process has checked, by the hash of the key. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # In the order of their reads.
        self._by_key: dict[str, RememberedSession] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def valid(self, stored_key: str) -> RememberedSession | None:
        """Returns the session if it is remembered and valid. No statement."""
        remembered = self._by_key.get(stored_key)
        return remembered if remembered and remembered.is_valid() else None

    def add(self, stored_key: str, remembered: RememberedSession) -> None:
        with self._lock:
            self._by_key.pop(stored_key, None)
            self._drop_old(remembered.read_at - settings.SESSION_RECHECK.total_seconds())
            self._by_key[stored_key] = remembered

    def _drop_old(self, read_before: float) -> None:
        for key in list(self._by_key):
            if len(self._by_key) < MAX_REMEMBERED and self._by_key[key].read_at > read_before:
                return
            del self._by_key[key]

    def clear(self) -> None:
        with self._lock:
            self._by_key = {}


remembered_sessions = RememberedSessions()
# A child process must not share the lock of its parent.
os.register_at_fork(after_in_child=remembered_sessions.__init__)  # type: ignore[misc]


class SessionStore(dbsc.SessionStore):
    """
    The store of bound sessions, which reads a remembered session without a statement. A session is remembered only
    after its device has proved its key: while the database is away, and no proof can be checked, that one is enough.
    """

    def _find_sign_in(self) -> None:
        if self.unproved_sign_in is not None:
            return
        remembered = self.session_key and remembered_sessions.valid(sessions.digest(self.session_key))
        if remembered:
            self._sign_in = remembered.build()
            if not mirror.is_without_database():
                self._require_device()
        else:
            super()._find_sign_in()

    def _read_row(self) -> None:
        if self._stored or self.session_key is None:
            return
        read_at, store_number = time.monotonic(), mirror.store_number
        super()._read_row()
        if self._stored and self._stored.sign_in and not self.is_unproved and may_be_remembered(self._stored.sign_in):
            stored_key, sign_in = sessions.digest(self.session_key), self._stored.sign_in
            expires_at = min(self._stored.expire_date, sign_in.expires_at, sign_in.max_expires_at)
            remember(
                remembered_sessions,
                stored_key,
                session_key_id(stored_key),
                sign_in,
                SIGN_IN_FIELDS,
                expires_at,
                read_at,
                store_number,
            )


def may_be_remembered(sign_in: SignIn) -> bool:
    """Whether a sign-in that was read just now can be remembered."""
    # A support sign-in depends on the rights of the staff member, which the mirror does not contain. In a transaction,
    # the row may be one that other processes do not see, or no longer.
    is_on = bool(settings.REDIS_URL and settings.SESSION_RECHECK and sign_in.actor_sid is None)
    return is_on and not connections[DEFAULT_DB_ALIAS].in_atomic_block and not binding.is_unsettled(sign_in)


def remember(
    remembered: RememberedSessions,
    stored_key: str,
    key_id: UUID,
    sign_in: SignIn,
    fields: Sequence[str],
    expires_at: datetime,
    read_at: float,
    store_number: int,
) -> None:
    """Adds a live sign-in with these fields. The arguments are those of RememberedSession."""
    until = min(expires_at, sign_in.use_recorded_until)
    if until.timestamp() <= time.time() or len(sign_in.user.username) > MAX_USERNAME_LENGTH:
        return
    remembered.add(
        stored_key,
        RememberedSession(
            read_at,
            store_number,
            until.timestamp(),
            key_id,
            {name: getattr(sign_in, name) for name in fields},
            {name: getattr(sign_in.user, name) for name in USER_FIELDS},
        ),
    )
