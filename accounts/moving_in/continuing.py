"""
Sign-ins of the site before that continue here. A token or session of it gives a sign-in of this site once, until
LEGACY_JWT_UNTIL or LEGACY_SESSION_UNTIL.

Each user who moves in gets one sign-in that stands for all of before. It is on the user's list, and whatever ends the
user's sign-ins ends it: a new password, a deactivation, "end all", staff, raw SQL. Then nothing of before is taken.
"""

import hashlib
import secrets
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from accounts import sids, starting
from accounts.models import MovedInUser, OldCredential, Session, SignIn, SignInQuerySet, SignInRefused, User
from accounts.models.limits import limits_of, shortest

# A name as users give it, in the language of the settings.
NAME = "Previous site"


class OldCredentialRefused(SignInRefused):
    """The token or session was used, or the sign-ins of before have ended."""


def is_active(until: datetime | None) -> bool:
    """Returns whether the time until which credentials of before are taken is set, and is not over."""
    return until is not None and timezone.now() < until


def id_of(kind: str, secret: str) -> UUID:
    """Returns the id under which a token or session is recorded. Both have 120 random bits or more: no salt needed."""
    return UUID(bytes=hashlib.sha256(f"{kind}\0{secret}".encode()).digest()[:16])


def password_digest(claim: str) -> str:
    """Returns MovedInUser.token_hash for the claim of SimpleJWT's CHECK_REVOKE_TOKEN, a hash of the password hash."""
    return hashlib.sha256(claim.encode()).hexdigest()


def sign_in_of_before(user: User, now: datetime) -> SignIn:
    """Returns the unsaved sign-in that stands for those of before. It has no tokens."""
    return SignIn(
        id=sids.new(now),
        user=user,
        kind=SignIn.Kind.BROWSER,
        name=NAME,
        auth_hash=user.get_session_auth_hash(),
        created_at=now,
        last_seen_at=now,
        authenticated_at=min(user.date_joined, now),
        refreshed_at=now,
        idle_timeout=settings.SIGN_IN_MAX,
        expires_at=now + settings.SIGN_IN_MAX,
    )


def session_of_before(sign_in: SignIn) -> Session:
    """Returns the unsaved session of sign_in_of_before(). Its key is random, and known to no browser."""
    return Session(session_key=secrets.token_hex(32), sign_in=sign_in, expire_date=sign_in.expires_at)


def owner_of(old_id: str) -> MovedInUser | None:
    """Returns the row of the user who had this id there, with the user; None for any other id. One statement."""
    found: MovedInUser | None = MovedInUser.objects.filter(pk=old_id).select_related("user").first()
    return found


def lock_owner(owner: MovedInUser) -> User:
    """
    Locks the user and the sign-in of before, in the order of all code that ends sign-ins, and returns the user as it is
    now, with User.is_continuing. Call it in a transaction. Raises OldCredentialRefused if the sign-ins of before have
    ended, and for a user who must have a second factor: what was proved there is not known. Two statements, and one
    with GROUP_LIMITS.
    """
    user: User | None = User.objects.filter(pk=owner.user_id, is_active=True, is_service=False).lock().first()
    of_before = _with_session(owner.sign_in_id).select_for_update(of=("self",), no_key=True).first()
    if user is None or of_before is None:
        raise OldCredentialRefused
    of_before.user = user
    if not of_before.is_live() or _is_beyond_limits(of_before):
        raise OldCredentialRefused
    user.is_continuing = True
    return user


def _is_beyond_limits(of_before: SignIn) -> bool:
    """Whether a limit of staff or of a group is over since the import. One statement with GROUP_LIMITS."""
    limit = shortest(*limits_of(of_before.user, SignIn.Kind.BROWSER))
    return limit is not None and timezone.now() - of_before.created_at >= limit


def _with_session(pk: UUID | None) -> SignInQuerySet:
    """The live sign-in, if its session exists: an end of many sign-ins deletes sessions first, and marks rows later."""
    session = Session.objects.filter(sign_in=OuterRef("pk"), expire_date__gt=timezone.now())
    return SignIn.objects.live().filter(Exists(session), pk=pk)


def use_up(user: User, credential: UUID, until: datetime) -> None:
    """Marks a credential as used. Raises OldCredentialRefused if it was used before. At most two statements."""
    if not OldCredential.objects.use(credential, user, until):
        raise OldCredentialRefused


def continue_client(owner: MovedInUser, credential: UUID, until: datetime, **options: Any) -> SignIn:
    """
    Returns a client's sign-in in place of an old token, which is then used up: both, or nothing. Of parallel calls one
    succeeds. Raises OldCredentialRefused, and as starting.start().
    """
    with transaction.atomic():
        user = lock_owner(owner)
        use_up(user, credential, until)
        sign_in = starting.start(user, SignIn.Kind.CLIENT, **options)
        OldCredential.objects.filter(pk=credential).update(sign_in_id=sign_in.pk)
    return sign_in


def use_up_after_second_step(user: User, credential: UUID, until: datetime) -> None:
    """As use_up(), for the user of a second step that an old token has begun. Call it in the transaction of start()."""
    owner: MovedInUser | None = MovedInUser.objects.filter(user=user.pk).first()
    if owner is None:
        raise OldCredentialRefused
    lock_owner(owner)
    use_up(user, credential, until)


def retried(credential: UUID) -> SignIn | None:
    """
    Returns the sign-in that an old token has just given, if this use can be a retry: within the grace period, and
    nothing that it gave was used. After the grace period, a second use ends that sign-in, as for a token of ours. No
    mail is sent: an app that keeps its old token would alarm each of its users. At most three statements.
    """
    used = OldCredential.objects.filter(pk=credential).values_list("sign_in_id", "used_at").first()
    sign_in_id, used_at = used or (None, None)
    sign_in: SignIn | None = SignIn.objects.filter(pk=sign_in_id).select_related("user").first()
    if sign_in is None or used_at is None:
        return None
    if timezone.now() - used_at >= settings.REFRESH_GRACE:
        sign_in.end(SignIn.Reason.TOKEN_REUSED)
        return None
    return sign_in if sign_in.previous_refresh_id is None and sign_in.is_live() else None
