"""A file of SHA-1 hashes of passwords, sorted, one in each line: the format of the Pwned Passwords download."""

import os
import re
from bisect import bisect_left
from hashlib import sha1
from itertools import pairwise

HASH_LENGTH = 40
# In bytes, with the count and the line end. Two lines are read at a time.
MAX_LINE_LENGTH = 64
LINE = re.compile(rb"[0-9A-Fa-f]{40}(?::[0-9]+)?\s*")
# Greater than each hexadecimal digit.
END = b"~"
SAMPLES = 64


def digest(password: str) -> bytes:
    # JSON may contain half of a surrogate pair.
    return sha1(password.encode(errors="surrogatepass"), usedforsecurity=False).digest()


def contains(path: str, password: str) -> bool:
    """
    Returns whether the file has the hash of the password. Reads some 40 parts of 128 bytes in a file of 40 GB. Raises
    OSError. The file is opened each time: a new one can be renamed over it.
    """
    wanted = digest(password).hex().upper().encode()
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        position = bisect_left(range(size), wanted, key=lambda each: _hash_after(file.fileno(), each))
        return _hash_after(file.fileno(), position) == wanted


def is_valid(path: str) -> bool:
    """Returns whether the first line is a hash, and a sample of the others are hashes in ascending order."""
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            first = file.read(MAX_LINE_LENGTH).partition(b"\n")[0]
            found = [_hash_after(file.fileno(), size * each // SAMPLES) for each in range(SAMPLES)]
    except OSError:
        return False
    lines = [each for each in found if each != END]
    return all(map(LINE.fullmatch, [first, *lines])) and all(one <= other for one, other in pairwise(lines))


def _hash_after(file: int, position: int) -> bytes:
    """Returns the hash of the first line that begins at this position or later, in upper case. END: there is none."""
    text = os.pread(file, 2 * MAX_LINE_LENGTH, max(0, position - 1))
    if position > 0:
        text = text.partition(b"\n")[2]
    return text[:HASH_LENGTH].upper() if len(text) >= HASH_LENGTH else END
