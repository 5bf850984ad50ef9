"""Users of the project, and their sign-ins."""

from typing import Any

from accounts import starting
from accounts.models import SignIn, User
from tests.benchmarks import wire
from tests.benchmarks.site import credentials


def ann() -> dict[str, str]:
    """Makes ann a superuser; returns the cookie of a session."""
    user = credentials.ann()
    User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
    return credentials.wristband()


def people(prefix: str, groups: dict[str, list[int]]) -> dict[str, list[dict[str, Any]]]:
    """
    Creates groups of users by name: as many, with as many other sign-ins each. Returns the tokens of one sign-in of
    each user, and the ids of the others.
    """
    return {
        name: [_person(f"{prefix}-{which}-{number}", others) for number in range(count)]
        for which, (name, (count, others)) in enumerate(groups.items())
    }


def _person(username: str, number: int) -> dict[str, Any]:
    user = User.objects.create_user(username, f"{username}@example.org", wire.PASSWORD)
    others = [starting.start(user, SignIn.Kind.CLIENT).pk for _ in range(number)]
    pair = credentials.pair(starting.start(user, SignIn.Kind.CLIENT))
    return {"username": username, **pair, "others": [str(sid) for sid in others]}
