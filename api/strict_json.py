"""JSON with one meaning only (RFC 7493): what two parsers could read in two ways is refused."""

import json
from typing import Any


def loads(text: bytes) -> Any:
    """Raises ValueError for anything but UTF-8 JSON without duplicate keys, NaN or bottomless nesting."""
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("duplicate key")
    return members


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
