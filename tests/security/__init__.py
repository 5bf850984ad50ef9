"""Somebody who wants to break it: what no door may do, whoever knocks, tried at every door there is."""

import os


def examples(number: int) -> int:
    """How many inputs a property is tried with: HYPOTHESIS_EFFORT=100 tries a hundred times as many."""
    return number * int(os.environ.get("HYPOTHESIS_EFFORT", "1"))
