"""How usernames and e-mail addresses are compared."""

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.encoding import punycode

# Of RFC 5321: a quoted local part ("ann"@example.org) and an address literal (ann@[192.0.2.1]) are other spellings of a
# mailbox, or of a host. Printable ASCII without the characters that they need.
PLAIN_ADDRESS = r"^[\x21\x23-\x27\x2a-\x5a\x5e-\x7e]*$"


def is_address(name: str) -> bool:
    """Whether it has the form of an e-mail address."""
    try:
        validate_email(name)
    except ValidationError:
        return False
    return True


def same(one: str, other: str) -> bool:
    return one.lower() == other.lower()


def address(typed: str) -> str:
    """As addresses are stored and compared: in small letters, the host in ASCII."""
    local, at, host = typed.strip().lower().rpartition("@")
    return f"{local}{at}{_ascii(host)}"


def mailbox(typed: str) -> str:
    """
    The same text for each spelling of one mailbox: quotes, comments, case, a dot after the host, an internationalised
    host, a tag after a plus sign. For limits, not for finding an account.
    """
    local, _at, host = address(typed).rpartition("@")
    local = _without_comments(local)
    host = _without_comments(host).rstrip(".")
    return f"{local.partition('+')[0] or local}@{_ascii(host)}"


def _without_comments(text: str) -> str:
    """Without comments and white space outside quotes, without the quotes, and without backslashes (RFC 5322, 3.2)."""
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
