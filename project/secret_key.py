"""SECRET_KEY: read from the environment, or generated for development, and checked for strength."""

import os
import sys
from pathlib import Path

from django.core.management.utils import get_random_secret_key

from project.environment import Environment

MIN_LENGTH = 50
MIN_DISTINCT_CHARACTERS = 5
# Commands of manage.py that sign and encrypt nothing.
KEYLESS_COMMANDS = ("makemigrations", "createsuperuser")


def secret_key(env: Environment, folder: Path, *, debug: bool) -> str:
    """
    A random key, which is not stored, if it is not set and a command needs none. Empty if it is not set and no key can
    be generated: `env` then has the problem.
    """
    key = env.raw("SECRET_KEY")
    if not key and not debug and _is_keyless_command():
        return get_random_secret_key()
    if not key and debug:
        try:
            return _development_key(folder)
        except OSError as error:
            problem = f"SECRET_KEY is not set, and no key can be stored in {error.filename} ({error.strerror})."
            env.require(False, problem)
    env.require(
        debug or not is_weak(key),
        "Outside DEBUG, SECRET_KEY must be set to a long random value of its own (50 characters or more). To work on "
        "the project, set DEBUG=true.",
    )
    return key


def secret_key_fallbacks(env: Environment, *, debug: bool) -> list[str]:
    keys = env.items("SECRET_KEY_FALLBACKS")
    env.require(
        debug or not any(map(is_weak, keys)),
        "Outside DEBUG, each key in SECRET_KEY_FALLBACKS must be as strong as SECRET_KEY: it gives the same access.",
    )
    return keys


def is_weak(key: str) -> bool:
    """As Django's deployment check security.W009."""
    return len(key) < MIN_LENGTH or len(set(key)) < MIN_DISTINCT_CHARACTERS or key.startswith("django-insecure-")


def _is_keyless_command() -> bool:
    program, *arguments = sys.argv
    return Path(program).name in ("manage.py", "django-admin") and not set(arguments[:1]).isdisjoint(KEYLESS_COMMANDS)


def _development_key(folder: Path) -> str:
    """The key in `folder`/secret_key, generated on first use, readable by its owner only. Raises OSError."""
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / "secret_key"
    if not path.exists():
        draft = folder / f"secret_key.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_text(get_random_secret_key())
        # A hard link is atomic: if several processes start at once, all use the same key.
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()
