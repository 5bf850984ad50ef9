"""Models of accounts, imported in this order: choices, event receivers, events, attempts, factors, sign-ins, users."""

from accounts.models.attempts import Attempt, AttemptCounter, AttemptCounterQuerySet
from accounts.models.choices import KeyScope, Method
from accounts.models.device_codes import DeviceCode
from accounts.models.errors import (
    AccountChanged,
    DPoPRequired,
    RefreshRefused,
    SecondFactorMissing,
    SecondStepRequired,
    SignInRefused,
)
from accounts.models.event_receivers import EventReceiver
from accounts.models.events import SecurityEvent, SecurityEventQuerySet
from accounts.models.factors import (
    AuthenticatorApp,
    Factor,
    FactorRemoval,
    Passkey,
    RecoveryCode,
    RecoveryCodeSet,
    UsedStep,
)
from accounts.models.mails import QueuedMail
from accounts.models.moved_in import MovedInUser, OldCredential
from accounts.models.profiles import UserProfile
from accounts.models.restores import Restore
from accounts.models.sessions import Session
from accounts.models.sign_in_querysets import SignInQuerySet
from accounts.models.sign_ins import SignIn
from accounts.models.user_querysets import AccountManager, UserQuerySet
from accounts.models.users import User, check_scopes

__all__ = [
    "AccountChanged",
    "AccountManager",
    "Attempt",
    "AttemptCounter",
    "AttemptCounterQuerySet",
    "AuthenticatorApp",
    "DPoPRequired",
    "DeviceCode",
    "EventReceiver",
    "Factor",
    "FactorRemoval",
    "KeyScope",
    "Method",
    "MovedInUser",
    "OldCredential",
    "Passkey",
    "QueuedMail",
    "RecoveryCode",
    "RecoveryCodeSet",
    "RefreshRefused",
    "Restore",
    "SecondFactorMissing",
    "SecondStepRequired",
    "SecurityEvent",
    "SecurityEventQuerySet",
    "Session",
    "SignIn",
    "SignInQuerySet",
    "SignInRefused",
    "UsedStep",
    "User",
    "UserProfile",
    "UserQuerySet",
    "check_scopes",
]
