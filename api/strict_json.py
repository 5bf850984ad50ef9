"""A parser for JSON that every parser reads alike (RFC 7493, I-JSON)."""

import json
import math
import re
from typing import Any

# Python's own limit depends on its version (3.11: about 990 levels, 3.13: 9,000).
MAX_LEVELS = 64
# Possessive quantifiers: one pass for any text. An unterminated string extends to the end.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
BRACKETS = bytes.maketrans(b"{}", b"[]")
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
OPENING = ord("[")


def loads(text: bytes) -> Any:
    """Parses JSON. Raises ValueError if it is not UTF-8, or has duplicate keys, NaN, infinity or over 64 levels."""
    if is_deep(text):
        raise ValueError("nested too deeply")
    return json.loads(
        text.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite
    )


def is_deep(text: bytes) -> bool:
    """Whether a text is nested deeper than MAX_LEVELS. A text with at most that many brackets is not scanned."""
    if text.count(b"[") + text.count(b"{") <= MAX_LEVELS:
        return False
    levels = 0
    for bracket in STRING.sub(b"", text).translate(BRACKETS, NO_BRACKETS):
        levels += 1 if bracket == OPENING else -1
        if levels > MAX_LEVELS:
            return True
    return False


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("duplicate key")
    return members


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError("number out of range")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
