"""
Step-up authentication (RFC 9470): a permission for views that need a recent proof of who the user is.

    permission_classes = [IsAuthenticated, RecentAuthentication.of(level=2, within=timedelta(minutes=5))]

The 403 names the methods that /api/reauthenticate/ takes. accounts.views.sign_in.ReauthenticationRequiredMixin has the
same rule for pages.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn

from django.conf import settings
from django.http import Http404
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.views import APIView
from rest_framework_simplejwt.utils import datetime_to_epoch

from accounts.factors import requirements
from accounts.models import Method, SignIn
from accounts.models.choices import level_of
from accounts.sessions import SessionStore
from api.api_keys import ApiKey, ApiKeyNotAllowed
from api.authentication import AuthenticatedRequest, read_sign_in, sid_of, uses_session
from api.errors import RecentSignInRequired, SessionRequired


class RecentAuthentication(BasePermission):
    """Asks for a recent proof at the level that the account has. Safe methods need none, unless `of()` says so."""

    # 1, 2, or None for the level that the account has.
    level: int | None = None
    # None: REAUTHENTICATION_TIMEOUT.
    within: timedelta | None = None
    status_code = 403
    exempt_methods: Sequence[str] = SAFE_METHODS

    @classmethod
    def of(
        cls,
        level: int | None = None,
        within: timedelta | None = None,
        status_code: int = 403,
        exempt_methods: Sequence[str] = SAFE_METHODS,
    ) -> type["RecentAuthentication"]:
        """Returns the permission with these requirements. `status_code` 401 is RFC 9470's own."""
        members = {"level": level, "within": within, "status_code": status_code, "exempt_methods": exempt_methods}
        return type("RecentAuthentication", (cls,), members)

    def has_permission(self, request: AuthenticatedRequest, view: APIView) -> bool:
        """Raises RecentSignInRequired. One statement, and one more for a sign-in of level 1."""
        if request.method not in self.exempt_methods:
            check_recent(request, self.level, self.within, self.status_code)
        return True


def check_recent(
    request: AuthenticatedRequest, level: int | None = None, within: timedelta | None = None, status_code: int = 403
) -> SignIn:
    """
    Returns the sign-in of the request if its user proved who they are recently. Raises RecentSignInRequired, also for a
    token of a browser's session from before that proof. One statement, and one more for a sign-in of level 1.
    """
    sign_in = current_sign_in(request)
    if sign_in is None or _is_from_before_proof(request, sign_in):
        refuse(request, level, within, status_code)
    if not requirements.is_recent(request.user, sign_in, level, within) or not has_device_proof(request):
        refuse(request, level, within, status_code)
    return sign_in


def has_device_proof(request: AuthenticatedRequest) -> bool:
    """As SessionStore.has_device_proof(), for a request with the session cookie; True for an access token."""
    return not uses_session(request) or _session_of(request).has_device_proof(request._request)


def _session_of(request: AuthenticatedRequest) -> SessionStore:
    session: SessionStore = request._request.session  # type: ignore[assignment]
    return session


def check_confirmed(request: AuthenticatedRequest) -> None:
    """
    As check_recent(), for what cannot be undone: the sign-in itself is no proof. Raises RecentSignInRequired unless its
    user has confirmed who they are since.
    """
    sign_in = check_recent(request)
    if sign_in.authenticated_at <= sign_in.created_at:
        refuse(request)


def refuse(
    request: AuthenticatedRequest, level: int | None = None, within: timedelta | None = None, status_code: int = 403
) -> NoReturn:
    """Raises RecentSignInRequired, with the methods that the user has. One statement."""
    methods = requirements.methods_of(request.user)
    needed = level or (1 if methods and level_of(methods) == 1 else 2)
    raise RecentSignInRequired(methods, needed, within or settings.REAUTHENTICATION_TIMEOUT, status_code)


def current_sign_in(request: AuthenticatedRequest) -> SignIn | None:
    """
    The sign-in of the request, read from the database; None if it was deleted, or after a test's force_authenticate().
    Raises NotAuthenticated without a user, ApiKeyNotAllowed for an API key, and as read_sign_in(). One statement.
    """
    if not request.user.is_authenticated:
        raise NotAuthenticated
    if isinstance(request.auth, ApiKey):
        raise ApiKeyNotAllowed
    if uses_session(request):
        return read_sign_in(request)
    return SignIn.objects.filter(pk=sid_of(request), user=request.user.pk).first()


def require_sign_in(request: AuthenticatedRequest) -> SignIn:
    """As current_sign_in(). Raises Http404 without one."""
    sign_in = current_sign_in(request)
    if sign_in is None:
        raise Http404
    return sign_in


def can_change_key(request: AuthenticatedRequest, sign_in: SignIn) -> bool:
    """
    Returns whether the session key can be replaced, if the sign-in has one: an access token of a browser's session
    cannot do what needs that. A proof and a new password make a stolen cookie worthless (OWASP ASVS 7.2.4).
    """
    return sign_in.kind != SignIn.Kind.BROWSER or uses_session(request)


def _is_from_before_proof(request: AuthenticatedRequest, sign_in: SignIn) -> bool:
    """
    Whether the request has an access token of a browser's session that is older than the latest proof. A thief of the
    cookie may have it: the proof replaced the session key, and the token must not gain the proof.
    """
    if can_change_key(request, sign_in):
        return False
    proved_at: int = request.auth.get("auth_time", 0)  # type: ignore[union-attr]
    return proved_at < datetime_to_epoch(sign_in.authenticated_at)


def check_key_can_change(request: AuthenticatedRequest, sign_in: SignIn | None) -> None:
    """Raises SessionRequired if can_change_key() is false. None: after a test's force_authenticate()."""
    if sign_in and not can_change_key(request, sign_in):
        raise SessionRequired


def check_password_is_enough(request: AuthenticatedRequest) -> None:
    """Raises RecentSignInRequired for an account with a second factor. At most two statements."""
    if requirements.has_second_factor(request.user):
        refuse(request)


def mark_reauthenticated(request: AuthenticatedRequest, sign_in: SignIn, method: str = Method.PASSWORD) -> None:
    """
    Replaces the session key of a browser (OWASP ASVS 7.2.4), and records the proof: in this order, so that the old key
    never has it.
    """
    if uses_session(request):
        _session_of(request).mark_reauthenticated(method, sign_in)
    else:
        sign_in.mark_reauthenticated(method)
