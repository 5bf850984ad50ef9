"""Demo accounts: people with different rights, and throw-away accounts."""

import secrets
from dataclasses import dataclass

from django.contrib.auth.models import Group
from django.db import transaction
from django.utils import timezone

from accounts import registration
from accounts.models import User

# Five words and a number have 39 bits of entropy, enough for a demo on the loopback interface.
WORDS = """
amber basil cedar cobalt coral cotton dune ember fern flint garnet hazel heron indigo ivory jasper juniper kelp
lagoon larch lemon lichen linen lotus maple marble meadow mint moss nettle oak olive onyx opal orchid otter paprika
pearl pebble plum poppy quartz raven reed rowan saffron sage sienna slate sorrel tansy teal thistle topaz umber
velvet violet walnut willow
""".split()  # noqa: SIM905


@dataclass(frozen=True)
class Person:
    """A demo account with its password."""

    username: str
    description: str
    password: str


def new_password() -> str:
    """Returns a random password of five words and a number."""
    words = [secrets.choice(WORDS) for _ in range(5)]
    return "-".join([*words, str(secrets.randbelow(900) + 100)])


def make_throw_away() -> tuple[User, str]:
    """Returns a new account that is deleted after a day, and its password, which is not stored."""
    # A demo runs without `prune`, so each new throw-away account deletes the expired ones.
    registration.delete_expired_throw_away_users()
    password = new_password()
    return registration.create_throw_away_user(f"demo-{secrets.token_hex(4)}", password), password


@transaction.atomic
def make_people() -> list[Person]:
    """
    Creates an ordinary user, a staff member, a support member and a deactivated user, with random passwords. Does
    nothing, and returns an empty list, if there are users.
    """
    if User.objects.exists():
        return []
    people = [
        Person("alice", "an ordinary user", new_password()),
        Person("sam", "staff: everything in the admin", new_password()),
        Person("dana", "support: sees sign-ins and events, ends sign-ins", new_password()),
        Person("carol", "deactivated: cannot sign in", new_password()),
    ]
    for person in people:
        # These addresses receive no mail, so they are marked as confirmed.
        User.objects.create_user(
            person.username, f"{person.username}@example.org", person.password, email_confirmed_at=timezone.now()
        )
    User.objects.filter(username="sam").update(is_staff=True, is_superuser=True)
    User.objects.filter(username="dana").update(is_staff=True)
    User.objects.get(username="dana").groups.add(Group.objects.get(name="Support"))
    User.objects.filter(username="carol").update(is_active=False)
    return people
