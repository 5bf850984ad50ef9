"""Session mode: Django's sessions, found by the hash of their key together with the sign-in and its user."""

import hashlib
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any, Self

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import VALID_KEY_CHARS, UpdateError
from django.db import IntegrityError, connections, router
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import SecurityEvent, Session, SignIn, SignInRefused, User

KEY_LENGTH = 32
KEY_CHARACTERS = frozenset(VALID_KEY_CHARS)


def digest(session_key: str) -> str:
    """How a key is stored. It has 165 random bits, so a plain hash is enough."""
    return hashlib.sha256(session_key.encode()).hexdigest()


class Join:
    """
    A session with its sign-in and user, by one statement that is compiled once. The ORM compiles anew each time, which
    takes longer than the database takes to answer, and every request of a browser asks.
    """

    def __init__(self, using: str) -> None:
        paths = (Session, ""), (SignIn, "sign_in__"), (User, "sign_in__user__")
        columns = [path + field.attname for model, path in paths for field in model._meta.concrete_fields]
        query = Session.objects.using(using).filter(pk="").values_list(*columns).query
        compiler = query.get_compiler(using)
        self._sql, self._parameters = compiler.as_sql()
        self._converters = compiler.get_converters([column for column, _sql, _alias in compiler.select])
        self._fields = [[field.attname for field in model._meta.concrete_fields] for model, _path in paths]
        self._using = using

    @classmethod
    @cache
    def on(cls, using: str) -> Self:
        return cls(using)

    def get(self, hashed_key: str) -> Session | None:
        """One statement."""
        connection = connections[self._using]
        with connection.cursor() as cursor:
            cursor.execute(self._sql, [hashed_key])
            row = cursor.fetchone()
        if row is None:
            return None
        values = list(row)
        for position, (converters, column) in self._converters.items():
            for convert in converters:
                values[position] = convert(values[position], column, connection)
        return self._build(iter(values))

    def _build(self, values: Iterator[Any]) -> Session:
        of_session, of_sign_in, of_user = self._fields
        session = Session.from_db(self._using, of_session, list(islice(values, len(of_session))))
        if session.sign_in_id:
            sign_in = SignIn.from_db(self._using, of_sign_in, list(islice(values, len(of_sign_in))))
            sign_in.user = User.from_db(self._using, of_user, list(values))
            session.sign_in = sign_in
        return session


class SessionStore(db.SessionStore):
    model: type[Session]
    _sign_in: SignIn | None = None

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    @property
    def sign_in(self) -> SignIn | None:
        """The live sign-in that this session belongs to. One statement, the first time."""
        self._get_session()  # type: ignore[attr-defined]
        return self._sign_in

    @sign_in.setter
    def sign_in(self, sign_in: SignIn) -> None:
        self["sid"] = str(sign_in.sid)
        self._sign_in = sign_in

    def keep(self) -> None:
        """Outlasts the browser's being closed."""
        self.set_expiry(None)
        self.sign_in.keep()  # type: ignore[union-attr]

    def flush(self) -> None:
        """Whoever drops a session has signed out of it."""
        if self.sign_in:
            self.sign_in.end(SignIn.Reason.SIGNED_OUT)
        self._sign_in = None
        super().flush()

    def exists(self, session_key: str) -> bool:
        return super().exists(digest(session_key))

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

    def _get_session_from_db(self) -> Session | None:
        now = timezone.now()
        session = Join.on(router.db_for_read(Session)).get(digest(self.session_key or ""))
        if session is None or session.expire_date <= now or (session.sign_in and not session.sign_in.is_live(now)):
            self._session_key = None
            return None
        self._sign_in = session.sign_in
        return session

    def _validate_session_key(self, key: str | None) -> bool:
        """Only what the server could have made is looked up."""
        return key is not None and len(key) == KEY_LENGTH and KEY_CHARACTERS.issuperset(key)

    async def aflush(self) -> None:
        await sync_to_async(self.flush)()

    async def aexists(self, session_key: str) -> bool:
        return await sync_to_async(self.exists)(session_key)

    async def adelete(self, session_key: str | None = None) -> None:
        await sync_to_async(self.delete)(session_key)

    async def acreate_model_instance(self, data: dict[str, Any]) -> Session:
        return await sync_to_async(self.create_model_instance)(data)

    async def _aget_session_from_db(self) -> Session | None:
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
        sign_in = SignIn.objects.start(user, SignIn.Kind.BROWSER, settings.BROWSER_SESSION_UNKEPT)
    except SignInRefused:
        request.user = AnonymousUser()
        session.flush()
        raise
    if session.sign_in:
        # login() goes on with the session of the same user; a new sign-in has a new key.
        session.sign_in.end(SignIn.Reason.SIGNED_OUT)
        session.cycle_key()
    session.sign_in = sign_in
    session.set_expiry(0)


def record_failed_sign_in(credentials: dict[str, Any], **kwargs: Any) -> None:
    """After any failed authenticate(). The name is not kept: people type passwords into that field."""
    user = User.objects.filter(username=credentials.get("username", "")).first()
    SecurityEvent.objects.record(SecurityEvent.Type.SIGN_IN_FAILED, user)
