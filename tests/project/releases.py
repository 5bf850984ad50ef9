"""The code of earlier releases, from the history of this repository."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import servers

# From the headings, the newest release first.
COMMITS = re.findall(r"^## .*\(([0-9a-f]{7})\)$", (servers.ROOT / "project/RELEASES.md").read_text(), re.MULTILINE)
PREVIOUS, FIRST = COMMITS[0], COMMITS[-1]
# The last migrations of the previous release, which the database had before this one.
PREVIOUS_MIGRATIONS = {
    "accounts": "0035_sign_in_name_help",
    "api": "0001_used_proofs",
    "blocklist": "0012_tokens_of_sessions",
}


def extract(commit: str, folder: Path) -> Path:
    """Returns the folder with the code of that commit. Without it in the history, the test is skipped."""
    asked = ["git", "archive", commit]
    archive = subprocess.run(asked, cwd=servers.ROOT, capture_output=True) if shutil.which("git") else None
    if archive is None or archive.returncode:
        # No failure in CI, which may run on a copy without history: there, test_old_models.py runs the old models.
        pytest.skip(f"The commit {commit} is not in the history of this folder: git fetch --unshallow")
    subprocess.run(["tar", "--extract", "--directory", folder], input=archive.stdout, check=True)
    return folder
