"""Optional programs: tests that need a missing one are skipped, or fail if CI is set."""

import os
from collections.abc import Callable
from typing import NoReturn

import pytest


def skip_or_fail(missing: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


def require(program: Callable[[], str]) -> str:
    """Returns the path from `program`, which raises RuntimeError if it is not installed."""
    try:
        return program()
    except RuntimeError as error:
        skip_or_fail(str(error))
