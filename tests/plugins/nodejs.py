"""Node.js, for the JavaScript of strangers in tests/strangers, and what is said where there is none."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.left_out import leave_out

STRANGERS = Path(__file__).parent / "strangers"
MISSING = "Node.js is not installed (node and npm)"


def is_there() -> bool:
    return bool(shutil.which("node") and shutil.which("npm"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left_out = [each for each in terminalreporter.getreports("skipped") if MISSING in str(each.longrepr)]
    if left_out:
        terminalreporter.section("LEFT OUT", red=True, bold=True)
        terminalreporter.line(f"{len(left_out)} tests with strangers' JavaScript did not run: {MISSING}.")
        terminalreporter.line("On Debian and Ubuntu: apt-get install nodejs npm. With CI=true that is a failure.")


def packages_or_left_out() -> Path:
    """Where the pinned packages are, installed on first use; leaves the test out without Node, or fails it in CI."""
    if not is_there():
        leave_out(MISSING)
    packages = STRANGERS / "node_modules"
    with (STRANGERS / "package-lock.json").open() as lock:
        # Of several test processes, one installs.
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = packages / ".package-lock.json"
        if not installed.exists() or installed.stat().st_mtime < os.stat(lock.fileno()).st_mtime:
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=STRANGERS, check=True, capture_output=True)
    return packages
