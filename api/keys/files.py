"""Files in a folder that others write to: of any kind, gone a moment later, of any size."""

import os
import stat
from pathlib import Path

# Far more than any key or ring.json has.
MAX_FILE_BYTES = 64 * 1024


class Unreadable(Exception):
    """There is no file of that name whose content can be had."""


def read(path: Path) -> bytes:
    """The content of a small file. Never waits, as a FIFO would make it. Raises Unreadable."""
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
    """The name of a file, for a log: names are bytes, and need not be UTF-8."""
    return path.name.encode("ascii", "backslashreplace").decode()


def file_state(file: os.DirEntry[str]) -> tuple[int, ...]:
    """Of what a link leads to, and of the link itself: it may lead nowhere, and somewhere else a moment later."""
    states = []
    for follow in (True, False) if file.is_symlink() else (True,):
        try:
            state = file.stat(follow_symlinks=follow)
            states += [state.st_ino, state.st_ctime_ns, state.st_size]
        except OSError as error:
            states += [-1, error.errno or 0, 0]
    return tuple(states)
