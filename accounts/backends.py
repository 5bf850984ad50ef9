from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts import passwords
from accounts.models import User


class PasswordBackend(ModelBackend):
    """Username and password, for every door: page, API and admin."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        if password is not None and len(password) > passwords.MAX_LENGTH:
            return None
        return super().authenticate(request, username=username, password=password, **kwargs)
