"""The browser of tests/e2e, and a notice if none is installed."""

import shutil
from pathlib import Path

import pytest

from tests.plugins.optional_tools import skip_or_fail

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
JOURNEYS = "tests/e2e/"
MISSING = f"no browser is installed ({', '.join(NAMES)})"


def executable() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", type=Path, metavar="DIR", help="save the screenshots of tests/e2e in this folder")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [each for each in terminalreporter.getreports("skipped") if each.nodeid.startswith(JOURNEYS)]
    if skipped and not executable():
        terminalreporter.section("LEFT OUT", red=True, bold=True)
        terminalreporter.line(f"{len(skipped)} tests of the pages in a real browser did not run: {MISSING}.")
        terminalreporter.line("On Debian and Ubuntu: apt-get install chromium. With CI=true that is a failure.")


def require() -> str:
    """Returns the path of the browser. Without one, skips the test, or fails it if CI is set."""
    if path := executable():
        return path
    skip_or_fail(MISSING)
