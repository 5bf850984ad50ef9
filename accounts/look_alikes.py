"""
Usernames outside ASCII: the form in which they are stored, and the rule against names that look like others.

A name has letters of one script, or of the scripts of one language (Unicode UTS 39, section 5.2), and a name in another
script than Latin has a letter that no ASCII letter looks like. Letters outside ASCII are stored in lower case, since
SQLite compares only ASCII without case.
"""

import unicodedata

from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

# The scripts in use (Unicode UAX 31, table 5), as the names of their characters begin.
# fmt: off
SCRIPTS = frozenset((
    "LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN", "HEBREW", "ARABIC", "DEVANAGARI", "BENGALI", "GURMUKHI",
    "GUJARATI", "TAMIL", "TELUGU", "KANNADA", "MALAYALAM", "SINHALA", "THAI", "LAO", "MYANMAR", "KHMER",
    "ETHIOPIC", "HANGUL", "HIRAGANA", "KATAKANA", "CJK",
))
# fmt: on
# Scripts that one language mixes. Latin letters may be among them.
MIXES = (frozenset({"CJK", "HIRAGANA", "KATAKANA", "LATIN"}), frozenset({"CJK", "HANGUL", "LATIN"}))
# Latin letters without an ASCII letter and a mark as their parts. Not the dotless i, which looks like an i.
LATIN_LETTERS = frozenset("ßæœøłđðþħŋ")
# Letters of other scripts that look like ASCII letters (from Unicode's confusables.txt).
ASCII_TWINS = frozenset("асԁеһіјӏорԛѕԝхуѵгьαγικνορστυχօսհոցզסוןاهଠഠဝዐჿ丨")

_is_username = UnicodeUsernameValidator()


def canonical(username: str) -> str:
    """Returns the form in which a username is stored: NFKC, with letters outside ASCII in lower case."""
    if username.isascii():
        return username
    normal = unicodedata.normalize("NFKC", username)
    lower = normal.lower()
    # Not of each letter by itself: a sigma at the end of a word has another form. The capital I with a dot gives two.
    pairs = zip(normal, lower if len(lower) == len(normal) else map(str.lower, normal), strict=True)
    return "".join(each if each.isascii() else small for each, small in pairs)


def folded(username: str) -> str:
    """Returns the form in which usernames are compared: two accounts never have the same."""
    return username.lower() if username.isascii() else unicodedata.normalize("NFKC", username).lower()


def validate_username(username: str) -> None:
    """Raises ValidationError for characters that Django refuses, and for a name that may look like another."""
    _is_username(username)
    if username.isascii():
        return
    if canonical(username) != username:
        raise ValidationError(_("Letters outside ASCII must be in lower case."), code="username_form")
    if not _is_distinct(username):
        raise ValidationError(_("This username can be confused with another one."), code="username_look_alike")


def _is_distinct(username: str) -> bool:
    letters = [each for each in username if each.isalpha()]
    others = [each for each in username if not each.isascii()]
    scripts = {_script_of(each) for each in {*letters, *others}}
    if not scripts <= SCRIPTS or not (len(scripts) == 1 or any(scripts <= mix for mix in MIXES)):
        return False
    if scripts == {"LATIN"}:
        return all(map(_is_latin_letter, others))
    return not ASCII_TWINS.issuperset(others)


def _script_of(character: str) -> str:
    return unicodedata.name(character, "").split(" ")[0].split("-")[0]


def _is_latin_letter(character: str) -> bool:
    base = unicodedata.normalize("NFD", character)[0]
    return character in LATIN_LETTERS or (base.isascii() and base.isalpha())
