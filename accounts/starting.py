"""
The start of a sign-in. Every sign-in passes start(): pages, sign-up, API, connected clients, the admin, the comparison,
and login() in a view of another app.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts import origin, sids
from accounts.models import KeyNeeded, SecurityEvent, SignIn, SignInRefused, User


def start(
    user: User,
    kind: str,
    *,
    audience: str = "",
    name: str = "",
    bound_to: str = "",
    proved_at: datetime | None = None,
    idle_timeout: timedelta | None = None,
) -> SignIn:
    """
    Signs in a user whose password was just verified on this instance, or at `proved_at`. Four statements. Raises
    SignInRefused if since then the account was changed or deactivated or its sign-ins were ended, and KeyNeeded.
    """
    check_allowed(user, kind, bound_to)
    now = timezone.now()
    is_first = user.last_login is None
    idle_timeout = idle_timeout or default_idle_timeout(kind)
    with transaction.atomic():
        _mark_signed_in(user, now)
        known = SignIn.objects.filter(user=user.pk).devices()
        sign_in = SignIn.objects.create(
            id=sids.new(now),
            user=user,
            kind=kind,
            name=name,
            user_agent=origin.user_agent(),
            ip_address=origin.ip_address(),
            auth_hash=user.get_session_auth_hash(),
            created_at=now,
            last_seen_at=now,
            proved_at=proved_at or now,
            refreshed_at=now,
            idle_timeout=idle_timeout,
            expires_at=now + min(idle_timeout, settings.SIGN_IN_MAX),
            audience=audience,
            bound_to=bound_to,
        )
        SecurityEvent.objects.record(SecurityEvent.Type.SIGNED_IN, user, sign_in, kind=kind)
        if name or not (is_first or sign_in.is_on_one_of(known)):
            user.notify("new_device", client=name, is_named=bool(name), kind=kind)
    return sign_in


def check_allowed(user: User, kind: str, bound_to: str = "") -> None:
    """Raises SignInRefused for a browser of a service, and KeyNeeded for a client without the key that it needs."""
    if user.is_service and kind == SignIn.Kind.BROWSER:
        raise SignInRefused
    if kind == SignIn.Kind.CLIENT and user.needs_bound_tokens and not bound_to:
        raise KeyNeeded


def default_idle_timeout(kind: str) -> timedelta:
    """How long a new sign-in may be unused."""
    timeout: timedelta = settings.BROWSER_SESSION_UNKEPT if kind == SignIn.Kind.BROWSER else settings.REFRESH_TOKEN
    return timeout


def _mark_signed_in(user: User, now: datetime) -> None:
    """
    Updates the user's row, and so takes the lock that each end of all sign-ins takes too: one of the two comes first,
    and the other sees it. Raises SignInRefused if the row is not as it was when the password was verified.
    """
    unused_since = now if user.is_signing_up else None
    unchanged = User._base_manager.filter(
        pk=user.pk, is_active=True, password=user.password, generation=user.generation
    )
    if not unchanged.update(last_login=now, unused_since=unused_since):
        raise SignInRefused
    user.last_login, user.unused_since = now, unused_since
