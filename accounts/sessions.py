"""Session mode: Django's session store, with hashed keys; a session is read together with its sign-in and user."""

import hashlib
from datetime import datetime
from typing import Any, NamedTuple, Self

from asgiref.sync import sync_to_async
from django.contrib.auth import login
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import VALID_KEY_CHARS, UpdateError
from django.db import IntegrityError
from django.http import HttpRequest
from django.utils import timezone

from accounts import known_browsers, starting
from accounts.compiled_queries import CompiledQuery
from accounts.models import Method, SecurityEvent, Session, SignIn, SignInRefused, User
from accounts.signals import session_keys_revoked

KEY_LENGTH = 32
BACKEND = "accounts.backends.PasswordBackend"
# The key in the session of the signed step of a sign-in on the pages (accounts.views.second_step).
STEP = "second_step"
KEY_CHARACTERS = frozenset(VALID_KEY_CHARS)


def digest(session_key: str) -> str:
    """The stored form of a session key. The key has 165 random bits, so that an unsalted hash is enough."""
    return hashlib.sha256(session_key.encode()).hexdigest()


class DeviceProofRequired(Exception):
    """A sensitive action needs a new proof of the device that the session is bound to (api.dbsc)."""


class StoredSession(NamedTuple):
    """A session row with its live or ended sign-in; None for the session of an anonymous user."""

    session_data: str
    expire_date: datetime
    sign_in: SignIn | None


_session_by_key = CompiledQuery(
    lambda: Session.objects.filter(pk="").values_list("session_data", "expire_date", *SignIn.columns("sign_in__"))
)


def stored_session(session_key: str) -> StoredSession | None:
    """The session with its sign-in and user; None if there is none. One statement."""
    row = _session_by_key.first(digest(session_key))
    if row is None:
        return None
    session_data, expire_date, *sign_in_columns = row
    return StoredSession(
        session_data, expire_date, SignIn.from_columns(sign_in_columns) if sign_in_columns[0] else None
    )


class SessionStore(db.SessionStore):
    """Django's database store, with hashed keys and the sign-in of the session."""

    model: type[Session]
    _sign_in: SignIn | None = None
    _stored: StoredSession | None = None
    # The session is bound to a device, which did not prove its key (api.dbsc).
    is_unproved = False
    # The user has proved who they are in this request: by signing in, or again.
    is_newly_proved = False

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    @property
    def sign_in(self) -> SignIn | None:
        """The live sign-in of this session; None for an anonymous user. One statement at the first access."""
        self.accessed = True
        if self._sign_in is None and not hasattr(self, "_session_cache"):
            self._find_sign_in()
        return self._sign_in

    @sign_in.setter
    def sign_in(self, sign_in: SignIn) -> None:
        self["sid"] = str(sign_in.sid)
        self._sign_in = sign_in

    @property
    def loaded_sign_in(self) -> SignIn | None:
        """The sign-in if it was read before; None otherwise. No statement."""
        return self._sign_in

    def read_sign_in(self) -> SignIn | None:
        """As `sign_in`, with the fields of SignIn.DECISIVE_FIELDS. At most one statement, also if it is remembered."""
        self._read_row()
        return self._stored.sign_in if self._stored else None

    def remember_me(self) -> None:
        """Keeps the session after the browser is closed, up to REMEMBER_ME_IDLE_TIMEOUT without use."""
        self.set_expiry(None)
        self.sign_in.remember_me()  # type: ignore[union-attr]

    def mark_reauthenticated(self, method: str = Method.PASSWORD, sign_in: SignIn | None = None) -> None:
        """
        Replaces the session key (OWASP ASVS 7.2.4), and records that the user has just proved `method` again: in this
        order, so that the old key never has the proof. `sign_in`: the session's, if it was read.
        """
        self._sign_in = sign_in or self.sign_in
        self.cycle_key()
        self.is_newly_proved = self._sign_in.mark_reauthenticated(method)  # type: ignore[union-attr]

    def has_device_proof(self, request: HttpRequest) -> bool:
        """
        Returns whether the device of the session has just proved its key; True for a session without one. Raises
        DeviceProofRequired if the request must be repeated with a proof. api.dbsc has the rule.
        """
        return True

    def of_same_browser(self, session_key: str) -> Self:
        """Returns another session of the browser that sent this one."""
        return type(self)(session_key)

    def cycle_key(self) -> None:
        """
        Replaces the session key. The row is updated, not inserted again: if the sign-in ends at the same time, the
        session stays deleted, and save() raises UpdateError.
        """
        if self.sign_in is None or self.session_key is None:
            super().cycle_key()
            return
        key, replaced = self._get_new_session_key(), digest(self.session_key)  # type: ignore[attr-defined]
        self.model.objects.filter(pk=replaced).update(session_key=digest(key))
        session_keys_revoked.send(sender=Session, stored_keys=[replaced])
        self._session_key = key
        self.modified = True

    def flush(self) -> None:
        """Deletes the session, and ends its sign-in as signed out, or as the end of support."""
        if self.sign_in:
            is_support = self.sign_in.actor_sid is not None
            self.sign_in.end(SignIn.Reason.SUPPORT_ENDED if is_support else SignIn.Reason.SIGNED_OUT)
        self._sign_in = None
        super().flush()

    def exists(self, session_key: str | None) -> bool:
        return session_key is not None and super().exists(digest(session_key))

    def delete(self, session_key: str | None = None) -> None:
        session_key = session_key or self.session_key
        if session_key:
            self.model.objects.delete_stored(digest(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        session: Session = super().create_model_instance(data)  # type: ignore[assignment]
        session.session_key = digest(session.session_key)
        session.sign_in_id = data.get("sid")
        return session

    def save(self, must_create: bool = False) -> None:
        try:
            super().save(must_create)
        except IntegrityError as error:
            # The user was deleted during the request, and the sign-in and session with it.
            raise UpdateError from error

    def _get_session_from_db(self) -> StoredSession | None:
        self._read_row()
        return self._stored

    def _find_sign_in(self) -> None:
        """Sets `_sign_in`."""
        self._read_row()

    def _read_row(self) -> None:
        """Reads the row. The session data is decoded later, when it is accessed: the API never does."""
        if self._stored or self.session_key is None:
            return
        now = timezone.now()
        stored = stored_session(self.session_key)
        if stored is None or stored.expire_date <= now or (stored.sign_in and not stored.sign_in.is_live(now)):
            self._session_key = self._sign_in = None
            return
        self._stored, self._sign_in = stored, stored.sign_in

    def _validate_session_key(self, key: str | None) -> bool:
        """Whether the key has the form of a generated key. No other key is looked up."""
        return key is not None and len(key) == KEY_LENGTH and KEY_CHARACTERS.issuperset(key)

    async def acycle_key(self) -> None:
        await sync_to_async(self.cycle_key)()

    async def aflush(self) -> None:
        await sync_to_async(self.flush)()

    async def aexists(self, session_key: str) -> bool:
        return await sync_to_async(self.exists)(session_key)

    async def adelete(self, session_key: str | None = None) -> None:
        await sync_to_async(self.delete)(session_key)

    async def acreate_model_instance(self, data: dict[str, Any]) -> Session:
        return await sync_to_async(self.create_model_instance)(data)

    async def _aget_session_from_db(self) -> StoredSession | None:
        return await sync_to_async(self._get_session_from_db)()


class BrowserRequest(HttpRequest):
    """For type checkers: a request after SessionMiddleware."""

    session: SessionStore


class SignedInRequest(BrowserRequest):
    """For type checkers: a request after LoginRequiredMixin."""

    user: User


def signed_in_user(request: BrowserRequest) -> User | AnonymousUser:
    """The user of the session. One statement, and another at most every five minutes, which records the use."""
    sign_in = request.session.sign_in
    if sign_in is None:
        return AnonymousUser()
    sign_in.touch()
    return sign_in.user


def sign_in(request: BrowserRequest, user: User, *, remember: bool = False) -> SignIn:
    """
    Signs in a user with the methods in User.proved: a new sign-in and session key, in place of the one of the request.
    `remember`: the session lasts after the browser is closed. Raises SignInRefused; the request is then signed out.
    """
    login(request, user, backend=BACKEND)
    request.session.pop(STEP, None)
    if remember:
        request.session.remember_me()
    return request.session.sign_in  # type: ignore[return-value]


def start_browser_sign_in(request: BrowserRequest, user: User, **kwargs: Any) -> None:
    """Receiver of user_logged_in, sent by each login(): starts the sign-in of the session. Raises SignInRefused."""
    session = request.session
    try:
        sign_in = starting.start(user, SignIn.Kind.BROWSER)
    except SignInRefused:
        request.user = AnonymousUser()
        session.flush()
        raise
    replaced, session.sign_in = session.sign_in, sign_in
    session.is_newly_proved = True
    if replaced:
        # login() keeps the session of the same user. A new sign-in needs a new key and a new row.
        replaced.end(SignIn.Reason.SIGNED_OUT)
        session.create()
    session.set_expiry(0)
    known_browsers.mark_known(request, user)


def record_failed_sign_in(credentials: dict[str, Any], **kwargs: Any) -> None:
    """Receiver of user_login_failed: records the event. The username is not stored: users type passwords there."""
    user = credentials.get("signed_in_user") or User.objects.get_by_login(credentials.get("username") or "")
    SecurityEvent.objects.record(SecurityEvent.Type.SIGN_IN_FAILED, user)
