"""
Files that the processes of a node lock, in a folder that only this account may enter: in a shared temporary folder,
another account could make a file of that name first, and keep this one from it.
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

# Not O_APPEND: with it, Linux appends what pwrite() is to write at an offset.
READ_AND_WRITE = os.O_RDWR
# In a container whose file system is read-only, /dev/shm is usually still writable.
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (a folder of our own in it)

_own_files: dict[str, int] = {}
_own_files_lock = threading.Lock()


def open_file(name: str) -> int:
    """
    A file that all processes of this account on this node share; where no folder for it can be had, a file of this
    process alone. Raises OSError where there is neither.
    """
    folder = find_folder()
    if folder is not None:
        try:
            return os.open(folder / name, READ_AND_WRITE | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            return _open_own(name, str(error))
    return _open_own(name, "no temporary folder can be written to")


def find_folder() -> Path | None:
    """It is looked at each time: what cleans temporary folders may have removed it."""
    return next((folder for folder in _candidates() if _is_private(folder)), None)


def _candidates() -> Iterator[Path]:
    # The project's own folder last: several nodes may share it.
    name = f"wristband-{os.getuid()}"
    with suppress(FileNotFoundError):
        yield Path(tempfile.gettempdir()) / name
    yield SHARED_MEMORY / name
    yield settings.VAR_DIR / "locks"


def _is_private(folder: Path) -> bool:
    """Made if it is missing. A link, or a folder that others made or may write to, is none."""
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        state = folder.lstat()
    except OSError:
        return False
    is_ours = stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o077
    return is_ours and os.access(folder, os.W_OK | os.X_OK)


def _open_own(name: str, why: str) -> int:
    """Opened anew each time, so that threads lock it against each other."""
    with _own_files_lock:
        if not _own_files:
            logger.warning("Processes of this node do not share their limit of password hashes: %s", why)
        if name not in _own_files:
            _own_files[name] = _make_own(name)
        return os.open(f"/proc/self/fd/{_own_files[name]}", READ_AND_WRITE)


def _make_own(name: str) -> int:
    if not hasattr(os, "memfd_create"):
        raise OSError("No folder for lock files")
    return os.memfd_create(name)
