"""Authentication by username or e-mail address and password."""

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts import guess_limits, hashing, known_browsers, rate_limits
from accounts.http import request_context
from accounts.models import Attempt, AttemptCounter, Method, SignIn, User


class PasswordBackend(ModelBackend):
    """Verifies the password of every sign-in (pages, API, admin), and limits wrong guesses."""

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
        Returns the user, or None for a wrong password. Raises TooManyAttempts, before the password is hashed, and
        HashingOverloaded. `kind` is the kind of the sign-in that follows: a service cannot sign in by browser.
        `signed_in_user` is the user who enters the password again; `username` is then ignored.
        """
        if username is None or password is None:
            return None
        if signed_in_user is None and not known_browsers.may_be_known(request):
            self._check_without_query(username)
        user = self._get_user(username, signed_in_user)
        browser_id = known_browsers.known_browser_id(request, user) if request and user else None
        sources = self._sources(username, user, browser_id, signed_in_user)
        attempt, refusal = self._start_attempt(sources, user)
        with attempt.hashing_slot(known=browser_id or (f"user {signed_in_user.pk}" if signed_in_user else "")):
            is_verified = self._verify(user, password, kind)
        if is_verified:
            attempt.succeeded()
            user.proved = (Method.PASSWORD,)  # type: ignore[union-attr]
            return user
        attempt.failed(user)
        if refusal:
            raise refusal
        return None

    async def aauthenticate(self, request: HttpRequest | None, **kwargs: Any) -> User | None:
        # Django's version does not call authenticate().
        return await sync_to_async(self.authenticate)(request, **kwargs)

    def _check_without_query(self, username: str) -> None:
        """Raises TooManyAttempts for a source that was just refused, and HashingOverloaded in a flood. No statement."""
        rate_limits.recent_refusals.check(
            guess_limits.without_account(guess_limits.sources_of_stranger(username, request_context.ip_address()))
        )
        hashing.check_flood()

    def _get_user(self, username: str, signed_in_user: User | None) -> User | None:
        """The user with that name, or the signed-in user read again. One statement."""
        return (
            User.objects.filter(pk=signed_in_user.pk).first() if signed_in_user else User.objects.get_by_login(username)
        )

    def _sources(
        self, username: str, user: User | None, browser_id: str | None, signed_in_user: User | None
    ) -> list[rate_limits.Source]:
        if user and browser_id:
            return guess_limits.sources_of_known_browser(user, browser_id)
        if signed_in_user:
            return guess_limits.sources_of_signed_in(signed_in_user)
        # Guesses by username and by e-mail address of an account have one counter.
        return guess_limits.sources_of_stranger(user.username if user else username, request_context.ip_address())

    def _start_attempt(
        self, sources: list[rate_limits.Source], user: User | None
    ) -> tuple[Attempt, rate_limits.TooManyAttempts | None]:
        """
        Counts the attempt. Raises TooManyAttempts. Two statements. A service's attempt passes if only clients at other
        addresses exceeded the limit: its password has 256 bits. After a wrong one the caller raises the error returned
        here, so that the response is the same as for other accounts.
        """
        try:
            return AttemptCounter.objects.start_attempt(sources), None
        except rate_limits.TooManyAttempts as refusal:
            if user is None or not user.is_service or not refusal.by_strangers:
                raise
            return AttemptCounter.objects.start_attempt(guess_limits.without_account(sources)), refusal

    def _verify(self, user: User | None, password: str, kind: str) -> bool:
        if user is None:
            # Takes as long as for an account, so that the time does not show whether one exists.
            hashing.simulate_check(password)
            return False
        is_allowed = self.user_can_authenticate(user) and not (user.is_service and kind == SignIn.Kind.BROWSER)
        return user.check_password(password) and is_allowed
