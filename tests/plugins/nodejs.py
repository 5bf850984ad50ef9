"""Node.js for tests/interop, and a notice if it is not installed."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.plugins.optional_tools import skip_or_fail

INTEROP = Path(__file__).parent.parent / "interop"
MISSING = "Node.js is not installed (node and npm)"


def is_there() -> bool:
    return bool(shutil.which("node") and shutil.which("npm"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [each for each in terminalreporter.getreports("skipped") if MISSING in str(each.longrepr)]
    if skipped:
        terminalreporter.section("LEFT OUT", red=True, bold=True)
        terminalreporter.line(f"{len(skipped)} tests with third-party JavaScript did not run: {MISSING}.")
        terminalreporter.line("On Debian and Ubuntu: apt-get install nodejs npm. With CI=true that is a failure.")


def require_packages() -> Path:
    """Returns the folder of the pinned packages, installed on first use. Without Node.js, skips or fails the test."""
    if not is_there():
        skip_or_fail(MISSING)
    packages = INTEROP / "node_modules"
    with (INTEROP / "package-lock.json").open() as lock:
        # Only one of several test processes installs.
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = packages / ".package-lock.json"
        if not installed.exists() or installed.stat().st_mtime < os.stat(lock.fileno()).st_mtime:
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=INTEROP, check=True, capture_output=True)
    return packages
