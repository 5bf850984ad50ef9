"""A status list reader of another vendor."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import Issuer

pytestmark = [pytest.mark.once, pytest.mark.long]

VALID, INVALID = "0", "1"
# A list is rebuilt after one second.
TIMEOUT_SECONDS = 20


def test_another_vendors_reader_sees_a_sign_out(issuer: Issuer, javascript: Any) -> None:
    reader = javascript((Path(__file__).parent / "status_list.mjs").read_text())
    left, stays = issuer.sign_in(), issuer.sign_in()
    assert (reader.ask(left.access), reader.ask(stays.access)) == (VALID, VALID)
    issuer.sign_out(left)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while reader.ask(left.access) != INVALID:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert reader.ask(stays.access) == VALID
