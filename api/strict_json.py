"""JSON with one meaning only (RFC 7493): what two parsers could read in two ways is refused."""

import json
import math
import re
from typing import Any

# Counted here: Python's own limit differs by version (3.11: some 990 levels, 3.13: 9,000).
MAX_LEVELS = 64
# Each step is possessive, so that no text costs more than one pass. An unterminated string reaches to the end.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
BRACKETS = bytes.maketrans(b"{}", b"[]")
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
OPENING = ord("[")


def loads(text: bytes) -> Any:
    """Raises ValueError for anything but UTF-8 JSON without duplicate keys, NaN, infinity or more than 64 levels."""
    if is_deep(text):
        raise ValueError("nested too deeply")
    return json.loads(
        text.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite
    )


def is_deep(text: bytes) -> bool:
    """Whether it has more levels than MAX_LEVELS; what has as few brackets in all is not looked through."""
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
