"""Console output of benchmarks: lines, tables, a progress bar."""

import sys
from collections.abc import Iterable, Sequence
from typing import Self

WIDTH = 30


def say(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a Markdown table. The first column is text, the others are numbers."""
    sys.stdout.write(markdown(headings, rows))
    sys.stdout.flush()


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table. The first column is text, the others are numbers."""
    lines = [list(headings), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    widths = [max(width, len("---:")) for width in widths]
    dashes = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    text = ""
    for line in [lines[0], dashes, *lines[1:]]:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        text += f"| {' | '.join(cells)} |\n"
    return text


class Progress:
    """A progress bar on a terminal; nothing without a terminal."""

    def __init__(self, total: int) -> None:
        self._total = max(total, 1)
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._show("\r\x1b[K")

    def at(self, what: str) -> None:
        """Shows the current task."""
        filled = WIDTH * self._done // self._total
        self._show(f"\r\x1b[K[{'#' * filled}{'.' * (WIDTH - filled)}] {self._done}/{self._total} {what}")

    def step(self, by: int = 1) -> None:
        self._done += by

    def _show(self, text: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(text)
            sys.stderr.flush()
