"""The rules for a new password, as a list for people. The validators of the settings decide."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth import password_validation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.known_passwords import KnownPasswordValidator
from accounts.password_validation import MAX_LENGTH, MaximumLengthValidator


@dataclass(frozen=True)
class Rule:
    text: str
    # What the page checks while the user types (rules.js): "least" or "most" characters, "personal", or nothing.
    check: str = ""
    # In characters.
    length: int = 0


def rules() -> list[Rule]:
    """Returns one rule for each validator in AUTH_PASSWORD_VALIDATORS, in the active language."""
    return [_rule(validator) for validator in password_validation.get_default_password_validators()]


def _rule(validator: Any) -> Rule:
    if isinstance(validator, password_validation.MinimumLengthValidator):
        length = validator.min_length
        text = ngettext("At least %(number)d character", "At least %(number)d characters", length)
        return Rule(text % {"number": length}, "least", length)
    if isinstance(validator, MaximumLengthValidator):
        text = ngettext("At most %(number)d character", "At most %(number)d characters", MAX_LENGTH)
        return Rule(text % {"number": MAX_LENGTH}, "most", MAX_LENGTH)
    if isinstance(validator, password_validation.UserAttributeSimilarityValidator):
        return Rule(_("Not your username, your name or your e-mail address"), "personal")
    if isinstance(validator, password_validation.CommonPasswordValidator):
        return Rule(_("Not one or two common words; three words are a good password"))
    if isinstance(validator, KnownPasswordValidator):
        return Rule(_("Not in a list of common or stolen passwords"))
    return Rule(validator.get_help_text())
