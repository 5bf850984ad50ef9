"""Safe reads of files in a folder that other programs write to: of any type and size, deleted at any time."""

import os
import stat
from pathlib import Path

# Far more than the size of any key or ring.json.
MAX_FILE_BYTES = 64 * 1024


class Unreadable(Exception):
    """The file does not exist, is not a regular file, is too large, or cannot be read."""


def read(path: Path) -> bytes:
    """The content of a small file. Never blocks, even on a FIFO. Raises Unreadable."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            state = os.fstat(file)
            if not stat.S_ISREG(state.st_mode):
                raise Unreadable("not a file")
            with os.fdopen(file, "rb", closefd=False) as reader:
                content = reader.read(MAX_FILE_BYTES + 1)
        finally:
            os.close(file)
    except OSError as error:
        raise Unreadable(error.strerror or "unknown error") from error
    if len(content) > MAX_FILE_BYTES:
        raise Unreadable(f"more than {MAX_FILE_BYTES} bytes")
    return content


def printable(path: Path) -> str:
    """The name of a file as ASCII, for a log: names are bytes, and may not be UTF-8."""
    return path.name.encode("ascii", "backslashreplace").decode()


def file_state(file: os.DirEntry[str]) -> tuple[int, ...]:
    """Inode, time of change and size; for a link, of the target and of the link, since the target may change."""
    states = []
    for follow in (True, False) if file.is_symlink() else (True,):
        try:
            state = file.stat(follow_symlinks=follow)
            states += [state.st_ino, state.st_ctime_ns, state.st_size]
        except OSError as error:
            states += [-1, error.errno or 0, 0]
    return tuple(states)
