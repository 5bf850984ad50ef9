"""Refusal of passwords that are in a list of common or breached passwords. No other host is asked."""

import logging
from functools import cache
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from accounts import hash_list
from accounts.password_validation import forms

log = logging.getLogger(__name__)

# Its source and licence are in common_passwords.txt.
COMMON_PASSWORDS = Path(__file__).with_name("common_passwords.bin")
DIGEST_BYTES = 8


class KnownPasswordValidator:
    """
    Rejects the passwords of COMMON_PASSWORDS, in any case, and those of the file BREACHED_PASSWORDS, if it is set. If
    that file cannot be read, all passwords are rejected.
    """

    def validate(self, password: str, user: object = None) -> None:
        texts = forms(password)
        if any(_is_common(text) for text in texts) or self._is_breached(texts):
            text = _("This password is in a list of common or stolen passwords. Choose another one.")
            raise ValidationError(text, code="password_known")

    def get_help_text(self) -> str:
        return _("Your password must not be in a list of common or stolen passwords.")

    def _is_breached(self, texts: list[str]) -> bool:
        if not settings.BREACHED_PASSWORDS:
            return False
        try:
            return any(hash_list.contains(settings.BREACHED_PASSWORDS, text) for text in texts)
        except OSError as error:
            log.exception("BREACHED_PASSWORDS cannot be read")
            text = _("New passwords cannot be checked at the moment. Try again later.")
            raise ValidationError(text, code="password_not_checked") from error


def _is_common(password: str) -> bool:
    return hash_list.digest(password.strip().lower())[:DIGEST_BYTES] in _common_passwords()


@cache
def _common_passwords() -> frozenset[bytes]:
    data = COMMON_PASSWORDS.read_bytes()
    return frozenset(data[start : start + DIGEST_BYTES] for start in range(0, len(data), DIGEST_BYTES))
