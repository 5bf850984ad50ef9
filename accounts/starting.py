"""
The start of a sign-in. Every sign-in is created by start(): pages, sign-up, API, connected clients, the admin, the
comparison, and login() in a view of another app.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts import sids
from accounts.http import request_context
from accounts.models import DPoPRequired, SecurityEvent, SignIn, SignInRefused, User


def start(
    user: User,
    kind: str,
    *,
    audience: str = "",
    name: str = "",
    key_thumbprint: str = "",
    authenticated_at: datetime | None = None,
    idle_timeout: timedelta | None = None,
) -> SignIn:
    """
    Signs in a user whose password was verified on this instance, just now or at `authenticated_at`. Four statements.
    Raises DPoPRequired, and SignInRefused if since then the account was changed or deactivated, or its sign-ins ended.
    """
    check_allowed(user, kind, key_thumbprint)
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
            user_agent=request_context.user_agent(),
            ip_address=request_context.ip_address(),
            auth_hash=user.get_session_auth_hash(),
            created_at=now,
            last_seen_at=now,
            authenticated_at=authenticated_at or now,
            refreshed_at=now,
            idle_timeout=idle_timeout,
            expires_at=now + min(idle_timeout, settings.SIGN_IN_MAX),
            audience=audience,
            key_thumbprint=key_thumbprint,
        )
        SecurityEvent.objects.record(SecurityEvent.Type.SIGNED_IN, user, sign_in, kind=kind)
        if name or not (is_first or sign_in.is_known_device(known)):
            user.notify("new_device", client=name, is_named=bool(name), kind=kind)
    return sign_in


def check_allowed(user: User, kind: str, key_thumbprint: str = "") -> None:
    """Raises SignInRefused for a service account in a browser, and DPoPRequired for a client without a required key."""
    if user.is_service and kind == SignIn.Kind.BROWSER:
        raise SignInRefused
    if kind == SignIn.Kind.CLIENT and user.needs_bound_tokens and not key_thumbprint:
        raise DPoPRequired


def default_idle_timeout(kind: str) -> timedelta:
    """Returns how long a new sign-in of this kind may be idle before it expires."""
    timeout: timedelta = settings.BROWSER_IDLE_TIMEOUT if kind == SignIn.Kind.BROWSER else settings.REFRESH_TOKEN
    return timeout


def _mark_signed_in(user: User, now: datetime) -> None:
    """
    Updates the user's row. The row lock serialises this with any end of all sign-ins, which locks the same row. Raises
    SignInRefused if the row has changed since the password was verified.
    """
    unused_since = now if user.is_signing_up else None
    unchanged = User._base_manager.filter(
        pk=user.pk, is_active=True, password=user.password, generation=user.generation
    )
    if not unchanged.update(last_login=now, unused_since=unused_since):
        raise SignInRefused
    user.last_login, user.unused_since = now, unused_since
