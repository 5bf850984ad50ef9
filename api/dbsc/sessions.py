"""Bound sessions: a session store that gives nothing of a session whose device did not prove its key."""

import time
from typing import Self

from django.conf import settings
from django.http import HttpRequest

from accounts import sessions
from accounts.models import Method, SignIn
from api.dbsc import binding, cookies, demands


class SessionStore(sessions.SessionStore):
    """
    accounts.sessions.SessionStore with the bound cookie. A session without it is an anonymous one, and stays as it is:
    its row is neither written nor deleted, except by a sign-out or another sign-in.
    """

    # Set by DeviceMiddleware. Without it, no bound session is accepted.
    bound_cookie = ""
    # Whether an unproved session is used all the same: by the views that ask for a proof of the user.
    is_admitted = False
    _unproved_sign_in: SignIn | None = None
    _proved_at = 0.0

    @property
    def unproved_sign_in(self) -> SignIn | None:
        """The sign-in of a session that was refused, since its device did not prove its key. No statement."""
        return self._unproved_sign_in

    def mark_reauthenticated(self, method: str = Method.PASSWORD, sign_in: SignIn | None = None) -> None:
        """As accounts.sessions. The browser then binds the session anew. One more statement for a bound session."""
        super().mark_reauthenticated(method, sign_in)
        if self.is_newly_proved and self._sign_in and self._sign_in.key_thumbprint:
            self._sign_in.unbind()

    def has_device_proof(self, request: HttpRequest) -> bool:
        sign_in = self.sign_in
        if sign_in is None or not sign_in.key_thumbprint or not binding.is_on():
            return True
        demand = demands.demand_in(request, sign_in.sid)
        if demand and self._proved_at >= demand.at:
            return True
        if not (self.is_unproved or (demand and demand.is_last)):
            raise sessions.DeviceProofRequired
        binding.record_failure(sign_in, "no_proof", binding.skip_reason(request))
        return False

    def of_same_browser(self, session_key: str) -> Self:
        session = super().of_same_browser(session_key)
        session.bound_cookie = self.bound_cookie
        return session

    def flush(self) -> None:
        self._end_unproved()
        super().flush()

    def cycle_key(self) -> None:
        """As accounts.sessions. A user who signs in anew ends a sign-in that was refused."""
        self._end_unproved()
        super().cycle_key()

    def save(self, must_create: bool = False) -> None:
        """As accounts.sessions. Of a session that was refused, the row stays, and the browser gets another session."""
        if self._unproved_sign_in is not None:
            self._session_key, self._unproved_sign_in = None, None
        super().save(must_create)

    def _end_unproved(self) -> None:
        if self._unproved_sign_in is not None:
            self._unproved_sign_in.end(SignIn.Reason.SIGNED_OUT)
            self._unproved_sign_in = None

    def _find_sign_in(self) -> None:
        if self._unproved_sign_in is None:
            super()._find_sign_in()

    def _read_row(self) -> None:
        if self._unproved_sign_in is None:
            super()._read_row()
            self._require_device()

    def _require_device(self) -> None:
        """Refuses the session that was read if its device did not prove its key."""
        sign_in = self._sign_in
        if sign_in is None or not sign_in.key_thumbprint or not binding.is_on() or self._is_proved(sign_in):
            return
        self.is_unproved = True
        if not self.is_admitted:
            self._unproved_sign_in, self._sign_in, self._stored = sign_in, None, None

    def _is_proved(self, sign_in: SignIn) -> bool:
        proved_at = cookies.proved_at(self.bound_cookie, sign_in.sid, sign_in.key_thumbprint)
        if proved_at is not None:
            self._proved_at = proved_at
            return True
        registered_at = sign_in.bound_at.timestamp() if sign_in.bound_at else 0.0
        return time.time() - registered_at < min(binding.REGISTRATION_GRACE, settings.DBSC_TERM).total_seconds()
