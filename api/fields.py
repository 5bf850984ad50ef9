"""Fields of serializers: texts and booleans without conversion, passwords, names, audiences."""

import re
from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from accounts import password_validation
from accounts.names import INVISIBLE, validate_visible

# The characters that validate_visible() refuses, for a pattern in ECMAScript, which has no \U escapes.
INVISIBLE_CHARACTERS = re.sub(
    r"\\U([0-9a-f]{8})",
    lambda match: chr(int(match[1], 16)),
    INVISIBLE.pattern.strip("[]"),
)


class TextField(serializers.CharField):
    """A text, unchanged: numbers are refused, and white space is not trimmed."""

    default_error_messages = {"not_text": _("Not a string.")}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("not_text")
        return super().to_internal_value(data)


class PasswordField(TextField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(write_only=True, style={"input_type": "password"}, **kwargs)


class NewPasswordField(PasswordField):
    """Checked by Django's password validators, together with the user's other fields."""

    schema = {"minLength": settings.PASSWORD_MIN_LENGTH, "maxLength": password_validation.MAX_LENGTH}


class UsernameField(TextField):
    """Validated by the model."""

    schema = {"pattern": "^[A-Za-z0-9_.@+-]+$"}


class EmailTextField(TextField):
    """Validated by the model."""

    schema = {"format": "email"}


class NameField(TextField):
    """A name, with the rule of the pages: no control or invisible characters."""

    schema = {"pattern": f"^[^{INVISIBLE_CHARACTERS}]*$"}

    def to_internal_value(self, data: Any) -> str:
        # Not in `validators`: drf-spectacular would describe the characters that this one refuses.
        text = super().to_internal_value(data)
        validate_visible(text)
        return text


class AudienceField(TextField):
    @property
    def schema(self) -> dict[str, Any]:
        return {"enum": settings.JWT_AUDIENCES}


class StrictBooleanField(serializers.BooleanField):
    """Takes true and false only; DRF's own also takes 0, "yes" and the like."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class StrictIntegerField(serializers.IntegerField):
    """Takes numbers of JSON only, 1.0 too (an integer in JSON Schema 2020-12, 6.1.1); DRF's own also takes texts."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is float and data.is_integer():
            return int(data)
        if type(data) is not int:
            self.fail("invalid")
        return data
