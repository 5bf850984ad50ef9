"""Models of accounts. Their modules import each other in this order: choices, events, attempts, sign-ins, users."""

from accounts.models.attempts import Attempt, AttemptCounter, AttemptCounterQuerySet
from accounts.models.events import SecurityEvent, SecurityEventQuerySet
from accounts.models.sessions import Session
from accounts.models.sign_in_querysets import RefreshRefused, SignInQuerySet
from accounts.models.sign_ins import SignIn
from accounts.models.user_querysets import AccountManager, UserQuerySet
from accounts.models.users import AccountChanged, DPoPRequired, SignInRefused, User, check_scopes

__all__ = [
    "AccountChanged",
    "AccountManager",
    "Attempt",
    "AttemptCounter",
    "AttemptCounterQuerySet",
    "DPoPRequired",
    "RefreshRefused",
    "SecurityEvent",
    "SecurityEventQuerySet",
    "Session",
    "SignIn",
    "SignInQuerySet",
    "SignInRefused",
    "User",
    "UserQuerySet",
    "check_scopes",
]
