"""
The start of a sign-in. Every sign-in is created by start(): pages, sign-up, API, connected clients, the admin, the
comparison, and login() in a view of another app. It refuses a sign-in that lacks a second factor, and first carries
out a removal of lost factors that is due.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts import devices, sids
from accounts.factors import removals
from accounts.http import request_context
from accounts.models import (
    DPoPRequired,
    MovedInUser,
    SecondFactorMissing,
    SecondStepRequired,
    SecurityEvent,
    SignIn,
    SignInRefused,
    User,
    UserQuerySet,
)
from accounts.models.choices import level_of
from accounts.models.limits import limits_of, shortest
from accounts.models.sign_in_querysets import MAX_ENDED_PER_TRANSACTION
from accounts.models.sign_ins import joined_methods


def start(
    user: User,
    kind: str,
    *,
    audience: str = "",
    name: str = "",
    key_thumbprint: str = "",
    authenticated_at: datetime | None = None,
    idle_timeout: timedelta | None = None,
    methods: Iterable[str] | None = None,
    key_hash: str = "",
    scopes: str = "",
) -> SignIn:
    """
    Signs in a user who proved `methods` (without it: User.proved), just now or at `authenticated_at`. Four statements,
    and one more for each of GROUP_LIMITS and SIGN_INS_PER_USER that is set. Raises DPoPRequired; SecondStepRequired if
    the account has a second factor and none was proved; SecondFactorMissing if it must have one; SignInRefused if since
    the proof the account was changed or deactivated, or its sign-ins ended.
    """
    check_allowed(user, kind, key_thumbprint)
    now = timezone.now()
    limits = limits_of(user, kind)
    idle_timeout = idle_timeout or SignIn.idle_timeout_of(kind)
    idle_timeout = shortest(idle_timeout, limits.idle) or idle_timeout
    sign_in = SignIn(
        id=sids.new(now),
        user=user,
        kind=kind,
        name=name,
        user_agent=request_context.user_agent(),
        ip_address=request_context.ip_address(),
        auth_hash=user.get_session_auth_hash(),
        created_at=now,
        last_seen_at=now,
        authenticated_at=authenticated_at or _authenticated_at(user, now),
        methods=_methods(user) if methods is None else joined_methods(methods),
        refreshed_at=now,
        idle_timeout=idle_timeout,
        expires_at=now + min(idle_timeout, limits.max_age or timedelta.max, SignIn.max_age_of(kind)),
        max_age=limits.max_age,
        audience=audience,
        key_thumbprint=key_thumbprint,
        key_hash=key_hash,
        scopes=scopes,
    )
    try:
        return _insert(sign_in, user)
    except SecondStepRequired:
        # A removal of lost factors needs the password, which the user of a sign-in of before has not proved.
        if user.is_continuing or not removals.carry_out_if_due(user):
            raise
    # With a new sid: the removal has revoked the sign-ins of the user up to now.
    return start(
        user,
        kind,
        audience=audience,
        name=name,
        key_thumbprint=key_thumbprint,
        authenticated_at=authenticated_at,
        idle_timeout=idle_timeout,
        methods=methods,
        key_hash=key_hash,
        scopes=scopes,
    )


def _authenticated_at(user: User, now: datetime) -> datetime:
    """Now; for a sign-in of before that continues, a time that is not recent, since it is not known."""
    if not user.is_continuing:
        return now
    return min(user.date_joined, now - settings.REAUTHENTICATION_TIMEOUT)


def _methods(user: User) -> str:
    """What the user proved. Nothing for a sign-in of before that continues: a code alone does not give level 2."""
    return "" if user.is_continuing else joined_methods(user.proved)


def _insert(sign_in: SignIn, user: User) -> SignIn:
    """Inserts a sign-in, with its event and the notice of a new device. Raises as start()."""
    last_login, is_key = user.last_login, sign_in.kind == SignIn.Kind.API_KEY
    details = {"methods": sign_in.methods}
    if user.is_continuing:
        # Neither a sign-in at a new device, nor the user's first one here.
        details = {"methods": joined_methods(user.proved), "moved_in": "true"}
    with transaction.atomic():
        _mark_signed_in(user, last_login if is_key or user.is_continuing else sign_in.created_at, sign_in)
        known = SignIn.objects.filter(user=user.pk, actor_sid=None).devices()
        sign_in.save(force_insert=True)
        if is_key:
            _announce_key(user, sign_in)
            return sign_in
        _end_oldest(user, sign_in)
        SecurityEvent.objects.record(SecurityEvent.Type.SIGNED_IN, user, sign_in, kind=sign_in.kind, **details)
        if not user.is_continuing and _is_new_device(user, last_login, sign_in, known):
            user.notify("new_device", client=sign_in.name, is_named=bool(sign_in.name), kind=sign_in.kind)
    return sign_in


def _is_new_device(
    user: User, last_login: datetime | None, sign_in: SignIn, known: set[tuple[str, devices.Device]]
) -> bool:
    """Whether the user gets a notice: not of the first sign-in here. At most one statement, for an unknown device."""
    if sign_in.name:
        return True
    if last_login is None or sign_in.is_known_device(known):
        return False
    return not MovedInUser.objects.filter(user=user.pk, imported_at__gte=last_login).exists()


def _announce_key(user: User, sign_in: SignIn) -> None:
    """Records the event, and queues the notice. Two statements."""
    SecurityEvent.objects.record(SecurityEvent.Type.API_KEY_MADE, user, sign_in, scopes=sign_in.scopes)
    user.notify("api_key_made", client=sign_in.name, scopes=sign_in.scopes)


def _end_oldest(user: User, sign_in: SignIn) -> None:
    """
    Ends the oldest sign-ins beyond SIGN_INS_PER_USER. The user's row is locked, so that sign-ins that start at the same
    time count each other. A service account has no limit: each of its processes may have a sign-in.
    """
    others = settings.SIGN_INS_PER_USER - 1
    if others < 0 or user.is_service:
        return
    # Those of support (accounts.support) are not the user's own. That of before (accounts.moving_in) is no place.
    of_before = MovedInUser.objects.filter(user=user.pk, sign_in_id__isnull=False).values("sign_in_id")
    counted = SignIn.objects.filter(user=user.pk, actor_sid=None, kind__in=SignIn.LIMITED_KINDS).live()
    newest_first = counted.exclude(pk=sign_in.pk).exclude(pk__in=of_before).order_by("-created_at", "-pk")
    if oldest := list(newest_first.values_list("pk", flat=True)[others : others + MAX_ENDED_PER_TRANSACTION]):
        SignIn.objects.filter(pk__in=oldest).end(SignIn.Reason.LIMIT_REACHED)


def check_allowed(user: User, kind: str, key_thumbprint: str = "") -> None:
    """
    Raises SignInRefused for a service account in a browser, and DPoPRequired for a client or an API key without a
    required key.
    """
    if user.is_service and kind == SignIn.Kind.BROWSER:
        raise SignInRefused
    if kind != SignIn.Kind.BROWSER and user.needs_bound_tokens and not key_thumbprint:
        raise DPoPRequired


def _mark_signed_in(user: User, last_login: datetime | None, sign_in: SignIn) -> None:
    """
    Updates the user's row, in the statement that also looks for a second factor. The row lock serialises this with any
    end of all sign-ins and any new factor, which lock the same row. Raises SignInRefused if the row has changed since
    the password was verified, and as start().
    """
    unused_since = sign_in.created_at if user.is_signing_up else None
    unchanged = User.objects.filter(pk=user.pk, is_active=True, password=user.password, generation=user.generation)
    level = level_of(user.proved) if user.is_continuing else sign_in.level
    needs_second_step = level < 2 and settings.SECOND_FACTOR != "off" and not user.is_service
    allowed = unchanged.without_second_factor() if needs_second_step else unchanged
    if sign_in.level < 2 and user.must_have_second_factor:
        allowed = allowed.none()
    if not allowed.update(last_login=last_login, unused_since=unused_since):
        raise _refusal(unchanged, needs_second_step)
    user.last_login, user.unused_since = last_login, unused_since


def _refusal(unchanged: UserQuerySet, needs_second_step: bool) -> SignInRefused:
    """Why no row was updated. At most two statements, for a refused sign-in only."""
    if not needs_second_step or not unchanged.exists():
        return SignInRefused()
    return SecondFactorMissing() if unchanged.without_second_factor().exists() else SecondStepRequired()
