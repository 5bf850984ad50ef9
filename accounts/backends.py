from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts import hashing, locks, origin
from accounts.models import Guess, Lock, SignIn, User


class PasswordBackend(ModelBackend):
    """Username or e-mail address, and password, for every door: page, API and admin."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        kind: str = SignIn.Kind.BROWSER,
        signed_in_user: User | None = None,
        **kwargs: Any,
    ) -> User | None:
        """
        Raises Locked, before the password is hashed, after too many guesses, and Busy while too many are being checked.
        `kind` is the sign-in that is to follow: a service gets no browser's, and is told so after the same work.
        `signed_in_user` is the user who is signed in and gives the password once more, whatever the name.
        """
        if username is None or password is None:
            return None
        if signed_in_user is None and not locks.may_be_known(request):
            self._refuse_at_once(username)
        user = self._find(username, signed_in_user)
        device = locks.device(request, user) if request and user else None
        sources = self._sources(username, user, device, signed_in_user)
        guess, locked = self._count(sources, user)
        with guess.turn(known=device or (f"user {signed_in_user.pk}" if signed_in_user else "")):
            is_right = self._is_right(user, password, kind)
        if is_right:
            guess.was_right()
            return user
        guess.was_wrong(user)
        if locked:
            raise locked
        return None

    async def aauthenticate(self, request: HttpRequest | None, **kwargs: Any) -> User | None:
        # Django's own goes another way.
        return await sync_to_async(self.authenticate)(request, **kwargs)

    def _refuse_at_once(self, username: str) -> None:
        """Refuses, without a statement, what the database would refuse or a node in a flood has no slot for."""
        locks.refusals.check(locks.without_account(locks.strangers(username, origin.ip_address())))
        hashing.check_flood()

    def _find(self, username: str, signed_in_user: User | None) -> User | None:
        """One statement."""
        return User.objects.filter(pk=signed_in_user.pk).first() if signed_in_user else User.objects.by_name(username)

    def _sources(
        self, username: str, user: User | None, device: str | None, signed_in_user: User | None
    ) -> list[locks.Source]:
        if user and device:
            return locks.known_browser(user, device)
        if signed_in_user:
            return locks.inside(signed_in_user)
        # Guesses by username and by e-mail address of one account count together.
        return locks.strangers(user.username if user else username, origin.ip_address())

    def _count(self, sources: list[locks.Source], user: User | None) -> tuple[Guess, locks.Locked | None]:
        """
        Two statements. Raises Locked, but lets a service's guess pass that only strangers elsewhere have used up: its
        password has 256 bits. If it is wrong, the answer is what it would be for another account: that Locked.
        """
        try:
            return Lock.objects.take(sources), None
        except locks.Locked as locked:
            if user is None or not user.is_service or not locked.by_strangers:
                raise
            return Lock.objects.take(locks.without_account(sources)), locked

    def _is_right(self, user: User | None, password: str, kind: str) -> bool:
        if user is None:
            # As long as for an account: no answer tells by its time whether there is one.
            hashing.pretend(password)
            return False
        is_welcome = self.user_can_authenticate(user) and not (user.is_service and kind == SignIn.Kind.BROWSER)
        return user.check_password(password) and is_welcome
