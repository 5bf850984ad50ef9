"""Errors of second factors and of the second step."""

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _


class StepNotValid(ValidationError):
    """The signed step is unknown, used, expired, or of another user, key, purpose or sign-in."""

    def __init__(self) -> None:
        super().__init__(
            _("This step is not valid: it was used before, or has expired. Start again."), "step_not_valid"
        )


class SecondStepFailed(ValidationError):
    """The code or passkey is wrong, or was used before."""

    def __init__(self) -> None:
        super().__init__(_("The code or passkey is wrong, or was used before."), "second_step_failed")


class UnknownPasskey(ValidationError):
    """No account has this passkey. The browser can remove it from its list (signalUnknownCredential)."""

    def __init__(self) -> None:
        super().__init__(_("No account has this passkey. It may have been removed."), "unknown_passkey")


class FactorRefused(ValidationError):
    """A new factor cannot be added: its proof is wrong, it exists already, or there are too many."""
