"""How long a sign-in lasts: its expiry without use, its longest duration, and the record of its use."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models.choices import SignInKind
from accounts.models.limits import limits_of, shortest

LAST_SEEN_PRECISION = timedelta(minutes=5)


class Lifetimes:
    """What SignIn does with its fields `created_at`, `last_seen_at`, `expires_at`, `idle_timeout` and `max_age`."""

    @property
    def ended_or_expired_at(self: Any) -> datetime:
        """When the sign-in ended or, if it has not ended, when it expires."""
        return self.ended_at or self.expires_at

    @property
    def end_reason_text(self: Any) -> str:
        """The reason of the end or of the expiry, in the active language."""
        if self.ended_at:
            return str(self.get_end_reason_display())
        if self.kind == SignInKind.API_KEY:
            return str(_("expired"))
        return str(
            _("maximum duration reached") if self.expires_at >= self.max_expires_at else _("unused for too long")
        )

    @property
    def max_expires_at(self: Any) -> datetime:
        """The latest possible expiry, however often the sign-in is used."""
        return self.created_at + min(self.max_age or timedelta.max, self.max_age_of(self.kind))

    @staticmethod
    def max_age_of(kind: str) -> timedelta:
        """Returns how long a sign-in of this kind can last, however often it is used; limits of its user aside."""
        age: timedelta = settings.API_KEY_MAX if kind == SignInKind.API_KEY else settings.SIGN_IN_MAX
        return age

    def touch(self: Any) -> None:
        """
        Records the use, and extends the idle expiry, if it has one, after `use_recorded_until`. For support, the own
        one too.
        """
        if self.actor_sign_in:
            self.actor_sign_in.touch()
        now = timezone.now()
        if now < self.use_recorded_until:
            return
        self.last_seen_at = now
        if self.kind == SignInKind.API_KEY:
            self._renew_auth_hash()
        else:
            self.expires_at = min(now + self.idle_timeout, self.max_expires_at)
        type(self).objects.filter(pk=self.pk, ended_at__isnull=True).update(
            last_seen_at=self.last_seen_at, expires_at=self.expires_at
        )
        if self.actor_sid is None:
            self.user.mark_used()

    @property
    def use_recorded_until(self: Any) -> datetime:
        """Until when a use needs no record: for LAST_SEEN_PRECISION, and less for a short idle timeout."""
        return self.last_seen_at + min(LAST_SEEN_PRECISION, self.idle_timeout / 5)

    def _renew_auth_hash(self: Any) -> None:
        """Replaces a hash by an old SECRET_KEY, which a key may outlast. One statement, after a change of that key."""
        read, current = self.auth_hash, self.user.get_session_auth_hash()
        if read != current:
            self.auth_hash = current
            type(self).objects.filter(pk=self.pk, auth_hash=read).update(auth_hash=current)

    @staticmethod
    def idle_timeout_of(kind: str, is_remembered: bool = False) -> timedelta:
        """Returns how long a sign-in of this kind may be idle before it expires, without the limits of its user."""
        browser = settings.REMEMBER_ME_IDLE_TIMEOUT if is_remembered else settings.BROWSER_IDLE_TIMEOUT
        timeout: timedelta = browser if kind == SignInKind.BROWSER else settings.REFRESH_TOKEN
        return timeout

    def remember_me(self: Any) -> None:
        """
        Sets the idle timeout of a browser to BROWSER_SESSION_DAYS, or to the shorter limit of its user. One statement,
        and one more if GROUP_LIMITS is set.
        """
        timeout = self.idle_timeout_of(SignInKind.BROWSER, is_remembered=True)
        self.idle_timeout = shortest(timeout, limits_of(self.user, self.kind).idle) or timeout
        self.expires_at = min(self.created_at + self.idle_timeout, self.max_expires_at)
        type(self).objects.filter(pk=self.pk).update(idle_timeout=self.idle_timeout, expires_at=self.expires_at)

    def _is_beyond_staff_limits(self: Any, now: datetime) -> bool:
        """For a sign-in that started before its user became a staff member, or before the limits were set."""
        if self.kind == SignInKind.API_KEY:
            return False
        idle, max_age = settings.STAFF_IDLE, settings.STAFF_MAX
        return bool((idle and now - self.last_seen_at >= idle) or (max_age and now - self.created_at >= max_age))
