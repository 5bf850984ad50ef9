"""CSV files for spreadsheets: quoted cells, streamed."""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime

from django.http import StreamingHttpResponse
from django.utils import timezone

# A formula may begin at the start of a cell, and after another separator if the spreadsheet's locale has one. The last
# four characters are the full-width forms of = + - @.
FORMULA = re.compile('(^|[;,|\t\r\n])(?=[\\s"]*[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20])')


class Echo:
    """Returns each line instead of storing it (Django documentation: "Streaming large CSV files")."""

    def write(self, line: str) -> str:
        return line


def as_lines(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Yields the headings and the rows as lines of CSV. A cell that would run as a formula is disabled."""
    writer = csv.writer(Echo())
    yield writer.writerow(headings)
    for row in rows:
        yield writer.writerow([_cell(value) for value in row])


def as_download(name: str, lines: Iterator[str]) -> StreamingHttpResponse:
    """Returns a response that streams the lines into a file of this name, with the time added."""
    return StreamingHttpResponse(
        lines,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}-{timezone.now():%Y%m%d-%H%M%S}.csv"'},
    )


def _cell(value: object) -> str:
    """The value as text. An apostrophe disables what a spreadsheet would run as a formula (OWASP, "CSV Injection")."""
    if value is None:
        return ""
    if isinstance(value, dict):
        text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    else:
        text = value.isoformat() if isinstance(value, datetime) else str(value)
    return FORMULA.sub(r"\1'", text)
