from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts import hashing, locks, origin, passwords
from accounts.models import Lock, SignIn, User


class PasswordBackend(ModelBackend):
    """Username and password, for every door: page, API and admin."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        kind: str = SignIn.Kind.BROWSER,
        **kwargs: Any,
    ) -> User | None:
        """
        Raises Locked, before it looks at the password, after too many guesses or while too many are being checked.
        `kind` is the sign-in that is to follow: a service gets no browser's, and is told so after the same work.
        """
        if username is None or password is None:
            return None
        # Before anything is asked of the database: to be refused has to cost next to nothing.
        with hashing.turn():
            user = User.objects.filter(username=username).first()
            guess = Lock.objects.take(self._sources(request, username, user))
            if self._is_right(user, password, kind):
                guess.was_right()
                return user
            guess.was_wrong(user)
            return None

    async def aauthenticate(self, request: HttpRequest | None, **kwargs: Any) -> User | None:
        # Django's own goes another way.
        return await sync_to_async(self.authenticate)(request, **kwargs)

    def _sources(self, request: HttpRequest | None, username: str, user: User | None) -> list[locks.Source]:
        device = locks.device(request, user) if request and user else None
        if user and device:
            return locks.known_browser(user, device)
        return locks.strangers(username, origin.ip_address())

    def _is_right(self, user: User | None, password: str, kind: str) -> bool:
        if len(password) > passwords.MAX_LENGTH:
            return False
        if user is None:
            # As long as for somebody: no answer tells by its time whether there is such an account.
            User().set_password(password)
            return False
        is_welcome = self.user_can_authenticate(user) and not (user.is_service and kind == SignIn.Kind.BROWSER)
        return user.check_password(password) and is_welcome
