from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts import guess_limits, hashing, known_browsers, rate_limits
from accounts.http import request_context
from accounts.models import Attempt, AttemptCounter, SignIn, User


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
        Raises TooManyAttempts, before the password is hashed, after too many guesses, and HashingOverloaded. `kind` is
        the kind of the sign-in that follows: a service gets no browser sign-in, and is refused after the same work.
        `signed_in_user` is the user who enters the password again, whatever the name.
        """
        if username is None or password is None:
            return None
        if signed_in_user is None and not known_browsers.may_be_known(request):
            self._refuse_at_once(username)
        user = self._find(username, signed_in_user)
        device = known_browsers.known_browser_id(request, user) if request and user else None
        sources = self._sources(username, user, device, signed_in_user)
        attempt, locked = self._count(sources, user)
        with attempt.hashing_slot(known=device or (f"user {signed_in_user.pk}" if signed_in_user else "")):
            is_right = self._is_right(user, password, kind)
        if is_right:
            attempt.succeeded()
            return user
        attempt.failed(user)
        if locked:
            raise locked
        return None

    async def aauthenticate(self, request: HttpRequest | None, **kwargs: Any) -> User | None:
        # Django's own goes another way.
        return await sync_to_async(self.authenticate)(request, **kwargs)

    def _refuse_at_once(self, username: str) -> None:
        """Refuses, without a statement, what the database would refuse or a node in a flood has no slot for."""
        rate_limits.recent_refusals.check(
            guess_limits.without_account(guess_limits.sources_of_stranger(username, request_context.ip_address()))
        )
        hashing.check_flood()

    def _find(self, username: str, signed_in_user: User | None) -> User | None:
        """One statement."""
        return (
            User.objects.filter(pk=signed_in_user.pk).first() if signed_in_user else User.objects.get_by_login(username)
        )

    def _sources(
        self, username: str, user: User | None, device: str | None, signed_in_user: User | None
    ) -> list[rate_limits.Source]:
        if user and device:
            return guess_limits.sources_of_known_browser(user, device)
        if signed_in_user:
            return guess_limits.sources_of_signed_in(signed_in_user)
        # Guesses by username and by e-mail address of one account count together.
        return guess_limits.sources_of_stranger(user.username if user else username, request_context.ip_address())

    def _count(
        self, sources: list[rate_limits.Source], user: User | None
    ) -> tuple[Attempt, rate_limits.TooManyAttempts | None]:
        """
        Two statements. Raises TooManyAttempts. A service's attempt passes if only strangers elsewhere have used up the
        limit: its password has 256 bits. If it is wrong, the answer is that of another account: the error returned.
        """
        try:
            return AttemptCounter.objects.start_attempt(sources), None
        except rate_limits.TooManyAttempts as locked:
            if user is None or not user.is_service or not locked.by_strangers:
                raise
            return AttemptCounter.objects.start_attempt(guess_limits.without_account(sources)), locked

    def _is_right(self, user: User | None, password: str, kind: str) -> bool:
        if user is None:
            # As long as for an account: no answer tells by its time whether there is one.
            hashing.simulate_check(password)
            return False
        is_welcome = self.user_can_authenticate(user) and not (user.is_service and kind == SignIn.Kind.BROWSER)
        return user.check_password(password) and is_welcome
