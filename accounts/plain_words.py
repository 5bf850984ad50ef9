"""
Filters for text in mails that users and clients have chosen: names of users, clients, devices and addresses. Mail
programs convert text that resembles a URL to a link, so text that could become a link or imitate the mail is removed.
"""

import re

NAME_MAX_LENGTH = 40
# Mail programs on phones convert telephone numbers to links.
MAX_DIGITS = 6
USERNAME = re.compile(r"\w[\w+-]*", re.ASCII)
# A word with punctuation, a sign, or a version with or without a product.
WORD = re.compile(r"""["'(]?\w(?:[\w'&+-]*\w)?["')]?[,;.!?]?|[&+-]|(?:[\w+-]+/)?v?\d+(?:\.\d+)*[,)]?""")
# A subset of RFC 5321, which allows a URL in a quoted local part.
ADDRESS = re.compile(r"(?!www\.)[\w.+-]+@[\w.-]+", re.ASCII | re.IGNORECASE)


def username(text: str) -> str:
    """Returns the name, or "" if it is not one plain word."""
    return text if USERNAME.fullmatch(text) and _is_short(text) else ""


def words(text: str) -> str:
    """Returns the text, or "" if one of its words is not plain."""
    return text if _is_short(text) and all(WORD.fullmatch(each) for each in text.split(" ") if each) else ""


def address(text: str) -> str:
    """Returns the e-mail address, or "" if mail programs could convert it to another link."""
    return text if ADDRESS.fullmatch(text) else ""


def _is_short(text: str) -> bool:
    return len(text) <= NAME_MAX_LENGTH and sum(map(str.isdigit, text)) <= MAX_DIGITS
