"""
Sign in as a user, for support: a staff member gets a browser sign-in of the user's. It is on the user's list, lasts
SUPPORT_MAX at most, and is live only while the staff member's own sign-in is and has the permission (SignIn.is_live).
It changes nothing of the account, and reads only unless the staff member may also make changes.
"""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, logout
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest
from django.middleware.csrf import rotate_token
from django.utils import timezone

from accounts import sids
from accounts.factors import requirements
from accounts.http import request_context
from accounts.models import SecurityEvent, SignIn, SignInRefused, User
from accounts.models.limits import SUPPORT_MAX
from accounts.sessions import BACKEND, BrowserRequest, SessionStore

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
# Views of these packages are never changed: they contain all that matters for the account.
OWN_PACKAGES = frozenset({"accounts", "api", "project", "django"})


class NotInSupport(PermissionDenied):
    """A staff member who is signed in as a user may not do this."""

    code = "not_in_support"


def start(request: BrowserRequest, user: User, reason: str, *, is_read_only: bool = True) -> SignIn:
    """
    Signs the staff member of the request in as a user, in place of their own session, which goes on. Records an event
    with the reason, and mails a notice. Raises SignInRefused without the permission, without a recent proof, and for an
    account that is not a user's own: of staff, a service or not active.
    """
    own = request.session.sign_in
    if not reason or own is None or not requirements.is_recent(own.user, own):
        raise SignInRefused
    with request_context.acting(reason), transaction.atomic():
        sign_in = _insert(own, user, is_read_only)
        details = {"kind": sign_in.kind, "changes": "no" if is_read_only else "yes"}
        SecurityEvent.objects.record(SecurityEvent.Type.SIGNED_IN_AS, sign_in.user, sign_in, **details)
        sign_in.user.notify("signed_in_as", is_read_only=is_read_only)
    _use_session(request, _new_session(request, sign_in), sign_in.user)
    return sign_in


def _insert(own: SignIn, user: User, is_read_only: bool) -> SignIn:
    """Inserts the sign-in. The locks exclude an end of the staff member's own, and a change of the user, meanwhile."""
    staff = User.objects.get(pk=own.user_id)
    locked = User.objects.filter(pk=user.pk).lock().first()
    if locked is None or not staff.may_sign_in_as(locked, is_read_only):
        raise SignInRefused
    if not SignIn.objects.filter(pk=own.pk, user=staff, actor_sid=None).live().update(is_acting=True):
        raise SignInRefused
    now = timezone.now()
    sign_in = SignIn(
        id=sids.new(now),
        user=locked,
        kind=SignIn.Kind.BROWSER,
        auth_hash=locked.get_session_auth_hash(),
        created_at=now,
        last_seen_at=now,
        authenticated_at=now,
        refreshed_at=now,
        idle_timeout=SUPPORT_MAX,
        max_age=SUPPORT_MAX,
        expires_at=now + SUPPORT_MAX,
        actor=staff,
        actor_sid=own.pk,
        is_read_only=is_read_only,
    )
    sign_in.save(force_insert=True)
    return sign_in


def _new_session(request: BrowserRequest, sign_in: SignIn) -> SessionStore:
    session = type(request.session)()
    session.sign_in = sign_in
    # For code that uses Django's get_user().
    session[SESSION_KEY] = str(sign_in.user_id)
    session[BACKEND_SESSION_KEY] = BACKEND
    session[HASH_SESSION_KEY] = sign_in.auth_hash
    session.set_expiry(0)
    return session


def _use_session(request: BrowserRequest, session: SessionStore, user: User) -> None:
    """Makes it the session of the request and, in the response, of the browser."""
    session.modified = True
    request.session, request.user = session, user
    rotate_token(request)


def end(request: BrowserRequest, own_key: str) -> User | None:
    """
    Ends the support sign-in of the request, and returns to the staff member's own session, whose key the browser has
    kept. Returns the user who was supported, if one was. Without a session of their own, the browser is signed out.
    """
    sign_in = request.session.sign_in
    supported = sign_in.user if sign_in and sign_in.actor_sid else None
    if sign_in and not supported:
        return None
    if sign_in:
        logout(request)
    own = request.session.of_same_browser(own_key)
    if own.sign_in and own.sign_in.is_acting:
        _use_session(request, own, own.sign_in.user)
    return supported


def end_with_own(sign_ins: Sequence[SignIn], **kwargs: Any) -> None:
    """Receiver of sign_ins_ended: ends what staff members have started from these. No statement for others."""
    if acting := [each.pk for each in sign_ins if each.is_acting]:
        SignIn.objects.filter(actor_sid__in=acting).end(SignIn.Reason.SUPPORT_ENDED)


def end_of_staff(user: User | None, **kwargs: Any) -> None:
    """Receiver of sign_ins_revoked_before. Without a user, the support sign-ins themselves are revoked."""
    if user and user.is_staff:
        SignIn.objects.filter(actor=user.pk).end(SignIn.Reason.SUPPORT_ENDED)


def check(request: HttpRequest, view: Any, sign_in: SignIn) -> None:
    """
    Raises NotInSupport if a request with a support sign-in may not use the view, a function, a class or an instance of
    one. Its attribute `in_support` is True for all methods, and False for none. No statement.
    """
    if sign_in.actor_sid is None:
        return
    is_allowed = in_support(view)
    if is_allowed is None:
        own_package = getattr(_defined(view), "__module__", "").partition(".")[0] in OWN_PACKAGES
        is_allowed = request.method in SAFE_METHODS or not (sign_in.is_read_only or own_package)
    if not is_allowed:
        raise NotInSupport


def in_support(view: Any) -> bool | None:
    """Whether a support sign-in may use the view with all methods (True), none (False), or by the rule (None)."""
    chosen: bool | None = getattr(_defined(view), "in_support", None)
    return chosen


def _defined(view: Any) -> Any:
    return getattr(view, "view_class", None) or getattr(view, "cls", None) or view
