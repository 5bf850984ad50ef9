"""Attacks on every URL of the project."""

import os


def examples(number: int) -> int:
    """Returns the number of examples of a property; HYPOTHESIS_EFFORT=100 multiplies it by 100."""
    return number * int(os.environ.get("HYPOTHESIS_EFFORT", "1"))
