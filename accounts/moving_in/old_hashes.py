"""Password hashes of the site before: which of them can be verified here, and at what cost."""

import re
from collections.abc import Callable
from typing import Any

from django.contrib.auth import hashers

# Above these limits one sign-in takes many seconds, or more memory than a node has.
MAX_PBKDF2_ITERATIONS = 10_000_000
MAX_BCRYPT_ROUNDS = 15
MAX_ARGON2_KILOBYTES = 2**20
MAX_ARGON2_PASSES = 20
# The limit of OpenSSL, which Django leaves as it is.
MAX_SCRYPT_BYTES = 32 * 2**20
MAX_PARALLELISM = 16
MAX_LENGTH = 128
# bcrypt reads no more; its library refuses longer passwords since version 5.
BCRYPT_BYTES = 72
BASE64 = r"[A-Za-z0-9+/]+=*"


class BCryptHasher(hashers.BCryptPasswordHasher):
    """As Django's with earlier versions of its library, which ignored the bytes of a password after the 72nd."""

    def encode(self, password: str, salt: Any) -> str:
        data = self._load_library().hashpw(  # type: ignore[attr-defined]
            password.encode()[:BCRYPT_BYTES], salt
        )
        return f"{self.algorithm}${data.decode('ascii')}"


def _has_pbkdf2_cost(match: re.Match[str]) -> bool:
    return 0 < int(match[1]) <= MAX_PBKDF2_ITERATIONS


def _has_bcrypt_cost(match: re.Match[str]) -> bool:
    return 4 <= int(match[1]) <= MAX_BCRYPT_ROUNDS


def _has_scrypt_cost(match: re.Match[str]) -> bool:
    work, block, parallel = (int(match[number]) for number in (1, 2, 3))
    is_power_of_two = work > 1 and not work & (work - 1)
    memory = 128 * block * (work + parallel + 2)
    return is_power_of_two and 0 < parallel <= MAX_PARALLELISM and 0 < memory < MAX_SCRYPT_BYTES


def _has_argon2_cost(match: re.Match[str]) -> bool:
    memory, passes, parallel = (int(match[number]) for number in (1, 2, 3))
    return (
        8 * parallel <= memory <= MAX_ARGON2_KILOBYTES
        and 0 < passes <= MAX_ARGON2_PASSES
        and 0 < parallel <= MAX_PARALLELISM
    )


# By algorithm: the form of a hash, and whether its cost is within the limits.
FORMS: dict[str, tuple[re.Pattern[str], Callable[[re.Match[str]], bool]]] = {
    "pbkdf2_sha256": (re.compile(rf"pbkdf2_sha256\$(\d{{1,9}})\$[^$]+\${BASE64}"), _has_pbkdf2_cost),
    "pbkdf2_sha1": (re.compile(rf"pbkdf2_sha1\$(\d{{1,9}})\$[^$]+\${BASE64}"), _has_pbkdf2_cost),
    "bcrypt": (re.compile(r"bcrypt\$\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}"), _has_bcrypt_cost),
    "bcrypt_sha256": (re.compile(r"bcrypt_sha256\$\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}"), _has_bcrypt_cost),
    "scrypt": (re.compile(rf"scrypt\$(\d{{1,9}})\$[^$]+\$(\d{{1,4}})\$(\d{{1,4}})\${BASE64}"), _has_scrypt_cost),
    "argon2": (
        re.compile(rf"argon2\$argon2(?:id|i|d)\$v=19\$m=(\d{{1,9}}),t=(\d{{1,9}}),p=(\d{{1,4}})\${BASE64}\${BASE64}"),
        _has_argon2_cost,
    ),
}
# Hashes of other frameworks, which Django's forms begin with the name of the algorithm.
BARE = {"$2a$": "bcrypt$", "$2b$": "bcrypt$", "$2y$": "bcrypt$", "$argon2": "argon2"}


def with_algorithm(encoded: str) -> str:
    """Returns the hash in Django's form."""
    return next((f"{name}{encoded}" for start, name in BARE.items() if encoded.startswith(start)), encoded)


def is_known(encoded: str) -> bool:
    """Returns whether the hash is unusable (Django's "!") or can be verified here, without verifying it."""
    if encoded.startswith(hashers.UNUSABLE_PASSWORD_PREFIX):
        return len(encoded) <= MAX_LENGTH
    algorithm = encoded.partition("$")[0]
    if len(encoded) > MAX_LENGTH or not encoded.isascii() or algorithm not in _algorithms():
        return False
    if algorithm not in FORMS:
        return True
    form, has_possible_cost = FORMS[algorithm]
    match = form.fullmatch(encoded)
    return bool(match) and has_possible_cost(match)  # type: ignore[arg-type]


def unknown() -> str:
    """Returns a hash that no password matches, and with which the user can still reset the password by mail."""
    return f"unknown${hashers.make_password(None)[1:]}"


def _algorithms() -> set[str]:
    return {str(hasher.algorithm) for hasher in hashers.get_hashers()}
