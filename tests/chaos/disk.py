"""A file system in memory that can be made full."""

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MAX_BYTES = 2 * 1024**3
TRIES = 50


class SmallDisk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        """Leaves no space. Raises RuntimeError if the used space grows all the time."""
        for _ in range(TRIES):
            size = max(4096, shutil.disk_usage(self.folder).used)
            if _run("mount", "-o", f"remount,size={size}", self.folder) == 0:
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self.folder} could not be made full")

    def make_room(self) -> None:
        _run("mount", "-o", f"remount,size={MAX_BYTES}", self.folder)


@contextmanager
def small_disk(folder: Path, account: Mapping[str, Any]) -> Iterator[SmallDisk | None]:
    """Mounts a tmpfs that belongs to the account. None if this machine allows no mount: that needs root."""
    folder.mkdir()
    if _run("mount", "-t", "tmpfs", "-o", f"size={MAX_BYTES}", "tmpfs", folder):
        yield None
        return
    try:
        if account:
            shutil.chown(folder, account["user"], account["group"])
        folder.chmod(0o700)
        yield SmallDisk(folder)
    finally:
        # Lazy: a server may still have files open.
        _run("umount", "--lazy", folder)


def _run(*command: str | Path) -> int:
    """Returns the exit status; 127 if there is no such program."""
    try:
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode
    except OSError:
        return 127
