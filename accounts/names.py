"""Names: which characters they must not have, and the normal forms by which names and addresses are compared."""

import re

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.encoding import punycode
from django.utils.translation import gettext_lazy as _

from accounts import look_alikes

# Excludes quoted local parts ("ann"@example.org) and address literals (ann@[192.0.2.1]; both RFC 5321), which are
# second spellings of a mailbox or a host: printable ASCII without their special characters.
PLAIN_ADDRESS = r"^[\x21\x23-\x27\x2a-\x5a\x5e-\x7e]*$"

# Control characters, and characters that are invisible or change the direction of text. Without the two joiners
# (U+200C, U+200D), which emoji and Persian need.
INVISIBLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def validate_visible(text: str) -> None:
    """Raises ValidationError for a text with control or invisible characters."""
    if INVISIBLE.search(text):
        raise ValidationError(_("Control characters are not allowed."), code="invisible")


def is_address(name: str) -> bool:
    """Returns whether the name has the form of an e-mail address."""
    try:
        validate_email(name)
    except ValidationError:
        return False
    return True


def same(one: str, other: str) -> bool:
    """Returns whether two names are equal, ignoring case."""
    return look_alikes.folded(one) == look_alikes.folded(other)


def address(typed: str) -> str:
    """Returns the address as it is stored and compared: in lower case, with the host in ASCII."""
    local, at, host = typed.strip().lower().rpartition("@")
    return f"{local}{at}{_ascii(host)}"


def mailbox(typed: str) -> str:
    """
    Returns one text for all spellings of a mailbox: quotes, comments, case, a dot after the host, an internationalised
    host, a tag after a plus sign. For rate limits only, not to find an account.
    """
    local, _at, host = address(typed).rpartition("@")
    local = _without_comments(local)
    host = _without_comments(host).rstrip(".")
    return f"{local.partition('+')[0] or local}@{_ascii(host)}"


def _without_comments(text: str) -> str:
    """Removes comments, quotes, backslashes, and white space outside quotes (RFC 5322, section 3.2)."""
    kept = []
    depth, is_quoted, is_escaped = 0, False, False
    for character in text:
        if is_escaped:
            is_escaped = False
        elif character == "\\":
            is_escaped = True
            continue
        elif character == '"' and not depth:
            is_quoted = not is_quoted
            continue
        elif not is_quoted and (character in "()" or character.isspace()):
            depth = max(0, depth + {"(": 1, ")": -1}.get(character, 0))
            continue
        if not depth:
            kept.append(character)
    return "".join(kept)


def _ascii(host: str) -> str:
    try:
        return punycode(host)
    except UnicodeError:
        return host
