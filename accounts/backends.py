from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts import passwords
from accounts.models import SignIn, User


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
        """`kind` is the sign-in that is to follow: a service gets no browser's, and is told so after the same work."""
        if password is not None and len(password) > passwords.MAX_LENGTH:
            return None
        user: User | None = super().authenticate(request, username=username, password=password, **kwargs)
        return None if user and user.is_service and kind == SignIn.Kind.BROWSER else user
