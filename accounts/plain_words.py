"""
Text that others chose, for use in mails: names of users, clients, devices and addresses. Mail programs make a link of
whatever resembles one, so a text that could become a link, or that changes how its surroundings read, is left out.
"""

import re

NAME_MAX_LENGTH = 40
# Mail programs on phones make a link of a telephone number.
DIGITS_MAX = 6
USERNAME = re.compile(r"\w[\w+-]*", re.ASCII)
# A word with punctuation around it; a sign; a version, of a program or alone.
WORD = re.compile(r"""["'(]?\w(?:[\w'&+-]*\w)?["')]?[,;.!?]?|[&+-]|(?:[\w+-]+/)?v?\d+(?:\.\d+)*[,)]?""")
# Without what RFC 5321 allows beyond that: a quoted part can hold an URL.
ADDRESS = re.compile(r"(?!www\.)[\w.+-]+@[\w.-]+", re.ASCII | re.IGNORECASE)


def username(text: str) -> str:
    """The name; empty if it is not one plain word."""
    return text if USERNAME.fullmatch(text) and _is_short(text) else ""


def words(text: str) -> str:
    """The text; empty if not each of its words is plain."""
    return text if _is_short(text) and all(WORD.fullmatch(each) for each in text.split(" ") if each) else ""


def address(text: str) -> str:
    """An e-mail address, which is no other link; empty if it could be."""
    return text if ADDRESS.fullmatch(text) else ""


def _is_short(text: str) -> bool:
    return len(text) <= NAME_MAX_LENGTH and sum(map(str.isdigit, text)) <= DIGITS_MAX
