"""What a user may do, and must have, by rights, settings and kind of account."""

from typing import Any

from django.conf import settings


class UserRights:
    """What User derives from its flags and scopes, without a statement unless it says so."""

    def is_manageable_by(self: Any, staff: Any) -> bool:
        """Returns whether a staff member may manage this user, as UserQuerySet.manageable_by()."""
        return staff.is_superuser or not self.is_superuser

    def may_sign_in_as(self: Any, user: Any, is_read_only: bool = True) -> bool:
        """
        Returns whether this staff member may sign in as a user (accounts.support): never as staff, superusers, services
        or oneself. Two statements, or none for a superuser.
        """
        if not self.is_staff or not user.is_active or user.is_staff or user.is_superuser or user.is_service:
            return False
        needed = ["accounts.sign_in_as"] if is_read_only else ["accounts.sign_in_as", "accounts.change_as"]
        return self.has_perms(needed)

    @property
    def needs_bound_tokens(self: Any) -> bool:
        """Whether clients of this user get DPoP-bound tokens only."""
        required = settings.DPOP_REQUIRED
        return self.bound_tokens_only or required == "all" or (required == "staff" and self.is_staff)

    @property
    def must_have_second_factor(self: Any) -> bool:
        """Whether SECOND_FACTOR requires a second factor of this user."""
        required = settings.SECOND_FACTOR
        if required not in ("staff", "all") or self.is_service or self.is_throw_away:
            return False
        return required == "all" or self.is_staff

    def has_scope(self: Any, scope: str) -> bool:
        """Returns whether this is a service account with the scope."""
        return self.is_service and scope in self.scopes.split()

    @property
    def is_throw_away(self: Any) -> bool:
        """Whether this is a throw-away account of the demo."""
        return self.delete_after is not None
