"""The key of the device that a browser's sign-in is bound to. api.dbsc has the protocol."""

from typing import Any

from django.utils import timezone

from accounts.models.choices import SignInKind


class DeviceBinding:
    """What SignIn does with its fields `key_thumbprint`, `device_key` and `bound_at`."""

    bound_at: Any

    @property
    def is_bound(self: Any) -> bool:
        """Whether its session (DBSC) or its tokens (DPoP) are bound to a key."""
        return bool(self.key_thumbprint)

    def bind(self: Any, key_thumbprint: str, device_key: str) -> bool:
        """
        Binds a browser's session to the key of its device, unless it is bound or has ended. Returns whether it did. One
        statement.
        """
        now, rows = timezone.now(), type(self).objects
        unbound = rows.filter(pk=self.pk, kind=SignInKind.BROWSER, key_thumbprint="", ended_at=None)
        if not unbound.update(key_thumbprint=key_thumbprint, device_key=device_key, bound_at=now):
            return False
        self.key_thumbprint, self.device_key, self.bound_at = key_thumbprint, device_key, now
        return True

    def unbind(self: Any) -> None:
        """Removes the key of the device: the browser can bind the session again. One statement."""
        self.key_thumbprint, self.device_key, self.bound_at = "", "", None
        type(self).objects.filter(pk=self.pk).update(key_thumbprint="", device_key="", bound_at=None)
