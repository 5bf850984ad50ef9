"""Strict JSON: a body whose meaning depends on the parser or on Python's version is refused."""

import time
from contextlib import suppress

import pytest

from api import strict_json
from api.parsers import MAX_BODY_BYTES

LEVELS = strict_json.MAX_LEVELS
MIXED = b'[{"a":'


@pytest.mark.parametrize(
    "text",
    [
        b"[" * LEVELS + b"]" * LEVELS,
        b'{"a":' * LEVELS + b"1" + b"}" * LEVELS,
        MIXED * (LEVELS // 2) + b"1" + b"}]" * (LEVELS // 2),
        b"[" + b"[]," * 1000 + b"[]]",
        b'["' + b"[" * 1000 + b'"]',
        b'["' + b'\\"[' * 1000 + b'"]',
        b'["\\\\", "' + b"{[" * 1000 + b'", "\\\\"]',
    ],
    ids=["arrays", "objects", "both", "many side by side", "in a string", "behind escaped quotes", "backslashes"],
)
def test_json_nested_to_the_limit_is_parsed(text):
    strict_json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * (LEVELS + 1) + b"]" * (LEVELS + 1),
        b'{"a":' * (LEVELS + 1) + b"1" + b"}" * (LEVELS + 1),
        b"[1," + MIXED * (LEVELS // 2) + b"1" + b"}]" * (LEVELS // 2) + b"]",
        b'["\\\\",' + b"[" * LEVELS + b"]" * LEVELS + b"]",
        b"[" * 1_000 + b"]" * 1_000,
        b"[" * 8_000 + b"]" * 8_000,
        b"[" * 100_000,
        b'["' + b"[" * 100_000,
        b"]" * 100_000 + b"[" * 100_000,
        b"[1e999]",
        b"[-1e999]",
        b"[NaN]",
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "\\u0062": 2}}',
        b"9" * 5_000,
        b"\xef\xbb\xbf[]",
        b"\xff",
    ],
    ids=lambda text: f"{text[:12]!r}… ({len(text)})",
)
def test_ambiguous_json_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 (all that is promised)
        strict_json.loads(text)


@pytest.mark.parametrize(
    "piece", [b"[]", b"[],", b'"a', b'\\"', b'"', b"\\", b"[", b"{", b"[[]],", b'"[",', b"1,"], ids=repr
)
def test_parsing_a_body_takes_little_time(piece):
    text = b"[" * LEVELS + b'"x",' + piece * ((MAX_BODY_BYTES - LEVELS) // len(piece))
    started = time.perf_counter()
    with suppress(ValueError):
        strict_json.loads(text)
    # 0.1 s on an idle machine.
    assert time.perf_counter() - started < 2
