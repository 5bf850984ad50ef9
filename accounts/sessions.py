"""Session mode: Django's sessions, found by the hash of their key together with the sign-in and its user."""

import hashlib
from datetime import datetime
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import VALID_KEY_CHARS, UpdateError
from django.db import IntegrityError
from django.http import HttpRequest
from django.utils import timezone

from accounts import known_browsers, starting
from accounts.compiled_queries import CompiledQuery
from accounts.models import SecurityEvent, Session, SignIn, SignInRefused, User

KEY_LENGTH = 32
KEY_CHARACTERS = frozenset(VALID_KEY_CHARS)


def digest(session_key: str) -> str:
    """How a key is stored. It has 165 random bits, so a plain hash is enough."""
    return hashlib.sha256(session_key.encode()).hexdigest()


class Found(NamedTuple):
    """What there is to know of a session."""

    session_data: str
    expire_date: datetime
    sign_in: SignIn | None


_by_key = CompiledQuery(
    lambda: Session.objects.filter(pk="").values_list("session_data", "expire_date", *SignIn.columns("sign_in__"))
)


def find(session_key: str) -> Found | None:
    """A session with its sign-in and user. One statement."""
    row = _by_key.first(digest(session_key))
    if row is None:
        return None
    session_data, expire_date, *of_sign_in = row
    return Found(session_data, expire_date, SignIn.from_columns(of_sign_in) if of_sign_in[0] else None)


class SessionStore(db.SessionStore):
    model: type[Session]
    _sign_in: SignIn | None = None
    _found: Found | None = None

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    @property
    def sign_in(self) -> SignIn | None:
        """The live sign-in that this session belongs to. One statement, the first time."""
        self.accessed = True
        if not hasattr(self, "_session_cache"):
            self._find()
        return self._sign_in

    @sign_in.setter
    def sign_in(self, sign_in: SignIn) -> None:
        self["sid"] = str(sign_in.sid)
        self._sign_in = sign_in

    @property
    def known_sign_in(self) -> SignIn | None:
        """The same, if it was asked for before. No statement."""
        return self._sign_in

    def remember_me(self) -> None:
        """Outlasts the browser's being closed."""
        self.set_expiry(None)
        self.sign_in.remember_me()  # type: ignore[union-attr]

    def cycle_key(self) -> None:
        """In place: a row that an end takes away meanwhile does not come back under another key; save() says so."""
        if self.sign_in is None or self.session_key is None:
            super().cycle_key()
            return
        key = self._get_new_session_key()  # type: ignore[attr-defined]
        self.model.objects.filter(pk=digest(self.session_key)).update(session_key=digest(key))
        self._session_key = key
        self.modified = True

    def flush(self) -> None:
        """Whoever drops a session has signed out of it."""
        if self.sign_in:
            self.sign_in.end(SignIn.Reason.SIGNED_OUT)
        self._sign_in = None
        super().flush()

    def exists(self, session_key: str | None) -> bool:
        return session_key is not None and super().exists(digest(session_key))

    def delete(self, session_key: str | None = None) -> None:
        session_key = session_key or self.session_key
        if session_key:
            self.model.objects.filter(session_key=digest(session_key)).delete()

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        session: Session = super().create_model_instance(data)  # type: ignore[assignment]
        session.session_key = digest(session.session_key)
        session.sign_in_id = data.get("sid")
        return session

    def save(self, must_create: bool = False) -> None:
        try:
            super().save(must_create)
        except IntegrityError as error:
            # The user, and so the sign-in, was deleted while the request ran: the session is gone.
            raise UpdateError from error

    def _get_session_from_db(self) -> Found | None:
        self._find()
        return self._found

    def _find(self) -> None:
        """Reads the row; its data is decoded when somebody asks for it, which the API never does."""
        if self._found or self.session_key is None:
            return
        now = timezone.now()
        found = find(self.session_key)
        if found is None or found.expire_date <= now or (found.sign_in and not found.sign_in.is_live(now)):
            self._session_key = None
            return
        self._found, self._sign_in = found, found.sign_in

    def _validate_session_key(self, key: str | None) -> bool:
        """Only what the server could have made is looked up."""
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

    async def _aget_session_from_db(self) -> Found | None:
        return await sync_to_async(self._get_session_from_db)()


class BrowserRequest(HttpRequest):
    """For type checkers: a request as SessionMiddleware leaves it."""

    session: SessionStore


class SignedInRequest(BrowserRequest):
    """For type checkers: a request that LoginRequiredMixin lets pass."""

    user: User


def signed_in_user(request: BrowserRequest) -> User | AnonymousUser:
    """Who the session belongs to. One statement, and one more at most every five minutes."""
    sign_in = request.session.sign_in
    if sign_in is None:
        return AnonymousUser()
    sign_in.touch()
    return sign_in.user


def start_browser_sign_in(request: BrowserRequest, user: User, **kwargs: Any) -> None:
    """After any login(), whoever called it: puts the session on the list of sign-ins."""
    session = request.session
    try:
        sign_in = starting.start(user, SignIn.Kind.BROWSER)
    except SignInRefused:
        request.user = AnonymousUser()
        session.flush()
        raise
    replaced, session.sign_in = session.sign_in, sign_in
    if replaced:
        # login() goes on with the session of the same user; a new sign-in has a new key, and a new row.
        replaced.end(SignIn.Reason.SIGNED_OUT)
        session.create()
    session.set_expiry(0)
    known_browsers.mark_known(request, user)


def record_failed_sign_in(credentials: dict[str, Any], **kwargs: Any) -> None:
    """After any failed authenticate(). The name is not kept: people type passwords into that field."""
    user = credentials.get("signed_in_user") or User.objects.get_by_login(credentials.get("username") or "")
    SecurityEvent.objects.record(SecurityEvent.Type.SIGN_IN_FAILED, user)
