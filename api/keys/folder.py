"""The folder of private keys, JWT_KEYS, and the states of its keys in ring.json."""

import os
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from django.core.exceptions import ImproperlyConfigured

from api import strict_json
from api.keys.files import Unreadable, file_state, printable, read
from api.keys.key import Key, derived_keys


class KeyState(StrEnum):
    """The states of a key, in order. Keys of all states verify."""

    PUBLISHED = "published"
    SIGNING = "signing"
    VERIFYING = "verifying"


class KeyStatus(NamedTuple):
    state: KeyState
    since: datetime


class KeyFolder:
    """
    A folder of PEM private keys. `ring.json` has the state of each key; keys that are not in it are ignored. Without
    that file, the last key by file name signs and the others verify.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        # Names of files, each with the reason, from the last call of files().
        self.unreadable: list[str] = []

    @property
    def ring_file(self) -> Path:
        return self.path / "ring.json"

    def statuses(self) -> dict[str, KeyStatus] | None:
        """The status of each key by kid; None without a ring.json. Raises ImproperlyConfigured if it is invalid."""
        # lexists: a broken link is an error, not a missing ring.json.
        if not os.path.lexists(self.ring_file):
            return None
        try:
            text = read(self.ring_file)
        except Unreadable as error:
            raise ImproperlyConfigured(f"ring.json in JWT_KEYS cannot be read ({error}).") from error
        try:
            ring = strict_json.loads(text)
            statuses = {
                kid: KeyStatus(KeyState(each["state"]), datetime.fromisoformat(each["since"]))
                for kid, each in ring.items()
            }
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ImproperlyConfigured("ring.json in JWT_KEYS is invalid.") from error
        if [each.state for each in statuses.values()].count(KeyState.SIGNING) != 1:
            raise ImproperlyConfigured("ring.json in JWT_KEYS must have exactly one key in the state signing.")
        return statuses

    def files(self) -> dict[Path, Key]:
        """
        The keys by file, in the order of names. Skips unreadable files and lists them in `unreadable`. Raises
        ImproperlyConfigured for a readable file without a valid key: it may be half written.
        """
        self.unreadable = []
        keys = {}
        for path in sorted(self.path.glob("*.pem")):
            try:
                keys[path] = Key.from_pem(path)
            except Unreadable as error:
                self.unreadable.append(f"{printable(path)} ({error})")
        return keys

    def keys(self) -> dict[str, Key]:
        """The keys by kid. Raises as files()."""
        return {key.kid: key for key in self.files().values()}

    def load(self) -> tuple[dict[str, Key], Key]:
        """Returns the keys by kid, and the key that signs. Raises ImproperlyConfigured."""
        if isinstance(error := self.fingerprint(), str):
            raise ImproperlyConfigured(f"The folder JWT_KEYS cannot be read ({error}).")
        keys, statuses = self.keys(), self.statuses()
        if statuses is not None:
            # After a change from SECRET_KEY, ring.json contains derived keys. A key without a file is skipped: it has
            # not arrived at this node yet, or was deleted.
            known = keys | {key.kid: key for key in derived_keys()}
            keys = {kid: known[kid] for kid in statuses if kid in known}
            signs = next(kid for kid, status in statuses.items() if status.state == KeyState.SIGNING)
        else:
            signs = next(reversed(keys), "")
        if signs not in keys:
            raise ImproperlyConfigured(
                "JWT_KEYS does not contain the key that signs. Create keys with: manage.py keys new"
            )
        return keys, keys[signs]

    def fingerprint(self) -> object:
        """A value that changes with any file in the folder. About 20 microseconds."""
        try:
            with os.scandir(self.path) as files:
                return sorted((each.name, *file_state(each)) for each in files)
        except OSError as error:
            return str(error)
