"""What a password may be."""

from django.core.exceptions import ValidationError
from django.utils.translation import ngettext

# NIST SP 800-63B-4 asks for 64 at least; a limit before the hash keeps a huge password from being an attack.
MAX_LENGTH = 128


class MaximumLengthValidator:
    def validate(self, password: str, user: object = None) -> None:
        if len(password) > MAX_LENGTH:
            raise ValidationError(self.get_help_text(), code="password_too_long")

    def get_help_text(self) -> str:
        return ngettext(
            "Your password must contain at most %(max)d character.",
            "Your password must contain at most %(max)d characters.",
            MAX_LENGTH,
        ) % {"max": MAX_LENGTH}
