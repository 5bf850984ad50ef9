"""What a password may be."""

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

# NIST SP 800-63B-4 asks for 64 at least; a limit before the hash keeps a huge password from being an attack.
MAX_LENGTH = 128
# A letter takes at most four code points in a decomposed form that people type. What is longer is not normalised.
MAX_CODE_POINTS = 4 * MAX_LENGTH
# Shorter words are in every passphrase.
SHORTEST_WORD = 3
# Years, dates, what is added to make a word long enough: guessers do the same.
DIGITS_ADDED = 8
# As fingers go over a keyboard, American or German, from either end.
KEYBOARD_ROWS = (
    "abcdefghijklmnopqrstuvwxyz 0123456789012345678901234567890 qwertyuiop qwertzuiop asdfghjkl zxcvbnm yxcvbnm "
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik 1qay2wsx3edc4rfv5tgb6zhn7ujm8ik qazwsxedcrfvtgbyhnujm qaywsxedcrfvtgbzhnujm "
    "1q2w3e4r5t6y7u8i9o0p 1q2w3e4r5t6z7u8i9o0p q1w2e3r4t5y6u7i8o9p0 q1w2e3r4t5z6u7i8o9p0"
)
KEYBOARD_ROWS_BOTH_WAYS = f"{KEYBOARD_ROWS} {KEYBOARD_ROWS[::-1]}"
SITE = "Wristband & Passport"


def normalized(password: str) -> str:
    """
    Unicode's NFC, as RFC 8265, section 4.2, and NIST SP 800-63B-4, section 3.1.1.2, allow: keyboards differ in how they
    compose one letter. Not NFKC, which makes one of different characters ("²" and "2"), so that guesses get easier.
    """
    return password if len(password) > MAX_CODE_POINTS else unicodedata.normalize("NFC", password)


def forms(password: str | None) -> list[str]:
    """What may have been hashed of a password that was sent: its normal form, and itself; nothing that is too long."""
    if password is None or len(password) > MAX_CODE_POINTS:
        return []
    return [form for form in dict.fromkeys((normalized(password), password)) if len(form) <= MAX_LENGTH]


class MinimumLengthValidator(password_validation.MinimumLengthValidator):
    def validate(self, password: str, user: Any = None) -> None:
        super().validate(normalized(password), user)


class PersonalPasswordValidator(password_validation.UserAttributeSimilarityValidator):
    def validate(self, password: str, user: Any = None) -> None:
        password = normalized(password)
        if len(password) <= MAX_LENGTH:
            super().validate(password, user)


class MaximumLengthValidator:
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
    Refuses what guessers try first, at any length: Django's 20,000 common passwords, of which 48 have 15 characters;
    one or two of them, of rows of keys or of the words around an account, as often as they like and with digits added;
    and a piece over and over that would itself be too short. Whoever takes three words or more is let be.
    """

    def validate(self, password: str, user: Any = None) -> None:
        password = normalized(password)
        if len(password) > MAX_LENGTH:
            return
        super().validate(password, user)
        if _repeats_itself(password.lower()):
            text = _("This password repeats the same characters. Choose one without repetition.")
            raise ValidationError(text, code="password_repeats")
        around = set(_personal_words(user))
        if _is_made_of(around.__contains__, password):
            raise self._too_personal()
        if _is_made_of(self._is_common, password):
            text = _("This password consists of one or two common words or keyboard rows. Use at least three words.")
            raise ValidationError(text, code="password_too_common")
        if _is_made_of(lambda word: word in around or self._is_common(word), password):
            raise self._too_personal()

    def get_help_text(self) -> str:
        return _("Your password must not be one or two common words, your name or this site's name. Use three words.")

    def _is_common(self, word: str) -> bool:
        return word in self.passwords or word in KEYBOARD_ROWS_BOTH_WAYS

    def _too_personal(self) -> ValidationError:
        text = _("This password contains little more than your name, your e-mail address or this site's name.")
        return ValidationError(text, code="password_too_personal")


def _letters_only(text: str) -> str:
    """Without what stands between words."""
    return re.sub(r"[\W_]", "", text.lower())


def _repeats_itself(text: str) -> bool:
    longest = min(settings.PASSWORD_MIN_LENGTH - 1, len(text) // 2)
    return any(text[size:] == text[:-size] for size in range(1, longest + 1))


def _is_made_of(is_known: Callable[[str], bool], password: str) -> bool:
    """Of two known words at most, and some digits."""
    text = _letters_only(password)
    letters = re.sub(r"\d", "", text)
    tries = [text, letters] if len(text) - len(letters) <= DIGITS_ADDED else [text]
    return any(_is_run_of(is_known, each, words=2) for each in tries if each)


def _is_run_of(is_known: Callable[[str], bool], text: str, words: int) -> bool:
    """Of so many known words at most, each as often as it likes in a row."""

    @cache
    def goes_on(start: int, words: int) -> bool:
        if start == len(text) or not words:
            return start == len(text)
        for end in range(start + SHORTEST_WORD, len(text) + 1):
            word, after = text[start:end], start
            if not is_known(word):
                continue
            while text.startswith(word, after):
                after += len(word)
                if goes_on(after, words - 1):
                    return True
        return False

    return goes_on(0, words)


def _personal_words(user: Any) -> Iterator[str]:
    """The names of the site and of whoever is to have the password, whole and in parts."""
    own = [getattr(user, name, "") for name in ("username", "email", "first_name", "last_name")]
    for text in [SITE, request_context.host(), *own]:
        yield from filter(None, map(_letters_only, [text, *re.split(r"[\W_]+", text)]))
