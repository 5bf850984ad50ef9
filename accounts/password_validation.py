"""Password validators, and the normal form of passwords."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from django.conf import settings
from django.contrib.auth import password_validation
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.http import request_context

# NIST SP 800-63B-4 requires at least 64. Longer passwords are not hashed: hashing huge ones would deny service.
MAX_LENGTH = 128
# A typed letter has at most four code points when decomposed. Longer texts are not normalised.
MAX_CODE_POINTS = 4 * MAX_LENGTH
# Shorter words are part of every passphrase.
MIN_WORD_LENGTH = 3
# Users append years and dates to reach the minimum length; password guessers try these first.
MAX_ADDED_DIGITS = 8
# Sequences of neighbouring keys on American and German keyboards.
KEYBOARD_ROWS = (
    "abcdefghijklmnopqrstuvwxyz 0123456789012345678901234567890 qwertyuiop qwertzuiop asdfghjkl zxcvbnm yxcvbnm "
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik 1qay2wsx3edc4rfv5tgb6zhn7ujm8ik qazwsxedcrfvtgbyhnujm qaywsxedcrfvtgbzhnujm "
    "1q2w3e4r5t6y7u8i9o0p 1q2w3e4r5t6z7u8i9o0p q1w2e3r4t5y6u7i8o9p0 q1w2e3r4t5z6u7i8o9p0"
)
KEYBOARD_ROWS_BOTH_WAYS = f"{KEYBOARD_ROWS} {KEYBOARD_ROWS[::-1]}"


def normalized(password: str) -> str:
    """
    Returns the password in Unicode NFC (RFC 8265, section 4.2; NIST SP 800-63B-4, section 3.1.1.2), since keyboards
    compose letters differently. Not NFKC: it maps different characters to one ("²" to "2") and makes guessing easier.
    """
    return password if len(password) > MAX_CODE_POINTS else unicodedata.normalize("NFC", password)


def forms(password: str | None) -> list[str]:
    """
    Returns the forms of a submitted password that a stored hash may belong to: its normal form, and the text as it was
    sent. Forms longer than MAX_LENGTH are left out.
    """
    if password is None or len(password) > MAX_CODE_POINTS:
        return []
    return [form for form in dict.fromkeys((normalized(password), password)) if len(form) <= MAX_LENGTH]


class MinimumLengthValidator(password_validation.MinimumLengthValidator):
    """Django's MinimumLengthValidator, applied to the normal form."""

    def validate(self, password: str, user: Any = None) -> None:
        super().validate(normalized(password), user)


class PersonalPasswordValidator(password_validation.UserAttributeSimilarityValidator):
    """Django's UserAttributeSimilarityValidator, applied to the normal form. Skips passwords that are too long."""

    def validate(self, password: str, user: Any = None) -> None:
        password = normalized(password)
        if len(password) <= MAX_LENGTH:
            super().validate(password, user)


class MaximumLengthValidator:
    """Rejects passwords whose normal form is longer than MAX_LENGTH."""

    def validate(self, password: str, user: object = None) -> None:
        if len(normalized(password)) > MAX_LENGTH:
            raise ValidationError(self.get_help_text(), code="password_too_long")

    def get_help_text(self) -> str:
        return ngettext(
            "Your password must contain at most %(max)d character.",
            "Your password must contain at most %(max)d characters.",
            MAX_LENGTH,
        ) % {"max": MAX_LENGTH}


class GuessablePasswordValidator(password_validation.CommonPasswordValidator):
    """
    Rejects passwords that guessers try first, at any length:
    - Django's 20,000 common passwords, of which 48 have 15 characters;
    - one or two of these, of keyboard rows or of the user's and the site's names, repeated and with digits added;
    - a repetition of a part that is itself shorter than PASSWORD_MIN_LENGTH.
    Accepts any password of three words or more.
    """

    def validate(self, password: str, user: Any = None) -> None:
        password = normalized(password)
        if len(password) > MAX_LENGTH:
            return
        super().validate(password, user)
        if _repeats_itself(password.lower()):
            text = _("This password repeats the same characters. Choose one without repetition.")
            raise ValidationError(text, code="password_repeats")
        personal = set(_personal_words(user))
        if _is_made_of(personal.__contains__, password):
            raise self._too_personal()
        if _is_made_of(self._is_common, password):
            text = _("This password consists of one or two common words or keyboard rows. Use at least three words.")
            raise ValidationError(text, code="password_too_common")
        if _is_made_of(lambda word: word in personal or self._is_common(word), password):
            raise self._too_personal()

    def get_help_text(self) -> str:
        return _("Your password must not be one or two common words, your name or this site's name. Use three words.")

    def _is_common(self, word: str) -> bool:
        return word in self.passwords or word in KEYBOARD_ROWS_BOTH_WAYS

    def _too_personal(self) -> ValidationError:
        text = _("This password contains little more than your name, your e-mail address or this site's name.")
        return ValidationError(text, code="password_too_personal")


def _letters_only(text: str) -> str:
    """Returns the text in lower case without spaces, punctuation and underscores. Digits stay."""
    return re.sub(r"[\W_]", "", text.lower())


def _repeats_itself(text: str) -> bool:
    """Returns whether the text is a repetition of a part that is shorter than PASSWORD_MIN_LENGTH."""
    longest = min(settings.PASSWORD_MIN_LENGTH - 1, len(text) // 2)
    return any(text[size:] == text[:-size] for size in range(1, longest + 1))


def _is_made_of(is_known: Callable[[str], bool], password: str) -> bool:
    """Returns whether the password has at most two different known words, and at most MAX_ADDED_DIGITS digits."""
    text = _letters_only(password)
    letters = re.sub(r"\d", "", text)
    candidates = [text, letters] if len(text) - len(letters) <= MAX_ADDED_DIGITS else [text]
    return any(_is_run_of(is_known, each, words=2) for each in candidates if each)


def _is_run_of(is_known: Callable[[str], bool], text: str, words: int) -> bool:
    """Returns whether the text is a sequence of at most `words` known words, each repeated any number of times."""

    @cache
    def matches_from(start: int, words: int) -> bool:
        if start == len(text) or not words:
            return start == len(text)
        for end in range(start + MIN_WORD_LENGTH, len(text) + 1):
            word, after = text[start:end], start
            if not is_known(word):
                continue
            while text.startswith(word, after):
                after += len(word)
                if matches_from(after, words - 1):
                    return True
        return False

    return matches_from(0, words)


def _personal_words(user: Any) -> Iterator[str]:
    """Yields the names of the site and of the user, whole and in parts."""
    own = [getattr(user, name, "") for name in ("username", "email", "first_name", "last_name")]
    for text in [settings.SITE_NAME, request_context.host(), *own]:
        yield from filter(None, map(_letters_only, [text, *re.split(r"[\W_]+", text)]))
