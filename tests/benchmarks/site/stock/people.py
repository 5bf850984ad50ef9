"""The users of the stock project, and their sign-ins."""

from typing import Any

from django.contrib.auth import get_user_model, login
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from rest_framework_simplejwt.tokens import RefreshToken

from tests.benchmarks import wire


def ann() -> dict[str, str]:
    """Creates the superuser ann; returns the cookie of a session."""
    users = get_user_model().objects
    user = users.filter(username="ann").first() or users.create_superuser("ann", "ann@example.org", wire.PASSWORD)
    return {"Cookie": f"sessionid={_session(user)}"}


def people(prefix: str, groups: dict[str, list[int]]) -> dict[str, list[dict[str, Any]]]:
    """
    Creates groups of users by name: as many, with as many other sign-ins each. Returns the tokens of each user with
    their id, the refresh tokens of the others, and the cookie of the last of as many sessions.
    """
    return {
        name: [_person(f"{prefix}-{which}-{number}", others) for number in range(count)]
        for which, (name, (count, others)) in enumerate(groups.items())
    }


def _person(username: str, number: int) -> dict[str, Any]:
    user = get_user_model().objects.create_user(username, f"{username}@example.org", wire.PASSWORD)
    token = RefreshToken.for_user(user)
    return {
        "username": username,
        "access": str(token.access_token),
        "refresh": str(token),
        "jti": token["jti"],
        "others": [str(RefreshToken.for_user(user)) for _ in range(number)],
        "cookie": f"sessionid={[_session(user) for _ in range(number + 1)][-1]}",
    }


def _session(user: Any) -> str:
    request = HttpRequest()
    request.session = SessionStore()
    login(request, user, "django.contrib.auth.backends.ModelBackend")
    request.session.save()
    return str(request.session.session_key)
