"""
Lock files that the processes of a node share, in a folder that only this account may enter: in a shared temporary
folder, another account could create a file of the same name first and deny access.
"""

import logging
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from django.conf import settings

logger = logging.getLogger(__name__)

# Without O_APPEND, with which pwrite() on Linux ignores the offset.
READ_AND_WRITE = os.O_RDWR
# In a container with a read-only file system, /dev/shm is usually writable.
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (a folder of our own in it)

_own_files: dict[str, int] = {}
_own_files_lock = threading.Lock()


def open_file(name: str) -> int:
    """
    Opens a file that all processes of this account on this node share or, if there is no folder for it, a file of this
    process alone. Raises OSError if neither is possible.
    """
    folder = find_folder()
    if folder is not None:
        try:
            return os.open(folder / name, READ_AND_WRITE | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            return _open_own(name, str(error))
    return _open_own(name, "no temporary folder can be written to")


def find_folder() -> Path | None:
    """Returns a private, writable folder, or None. It is checked each time, since a cleaner may have removed it."""
    return next((folder for folder in _candidates() if _is_private(folder)), None)


def _candidates() -> Iterator[Path]:
    # The project's own folder is last, since several nodes may share it.
    name = f"wristband-{os.getuid()}"
    with suppress(FileNotFoundError):
        yield Path(tempfile.gettempdir()) / name
    yield SHARED_MEMORY / name
    yield settings.VAR_DIR / "locks"


def _is_private(folder: Path) -> bool:
    """Creates a missing folder. Returns whether it is a folder of this account, not a link, and closed to others."""
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        state = folder.lstat()
    except OSError:
        return False
    is_ours = stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o077
    return is_ours and os.access(folder, os.W_OK | os.X_OK)


def _open_own(name: str, reason: str) -> int:
    """Returns a new open file description each time, since threads that share one share its lock."""
    with _own_files_lock:
        if not _own_files:
            logger.warning("Processes of this node do not share their limit of password hashes: %s", reason)
        if name not in _own_files:
            _own_files[name] = _make_own(name)
        return os.open(f"/proc/self/fd/{_own_files[name]}", READ_AND_WRITE)


def _make_own(name: str) -> int:
    if not hasattr(os, "memfd_create"):
        raise OSError("No folder for lock files")
    return os.memfd_create(name)
