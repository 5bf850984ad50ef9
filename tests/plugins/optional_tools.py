"""What a machine need not have: tests that need it are left out where it is missing, and fail where CI is set."""

import os
from collections.abc import Callable
from typing import NoReturn

import pytest


def skip_or_fail(missing: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


def require(program: Callable[[], str]) -> str:
    """What `program` finds; it raises RuntimeError where there is none."""
    try:
        return program()
    except RuntimeError as error:
        skip_or_fail(str(error))
