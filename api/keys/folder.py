"""The folder of private keys, JWT_KEYS."""

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
    """The life of a key. All of them verify."""

    PUBLISHED = "published"
    SIGNING = "signing"
    VERIFYING = "verifying"


class KeyStatus(NamedTuple):
    state: KeyState
    since: datetime


class KeyFolder:
    """
    A folder of PEM private keys. `ring.json` says in which state each key is, and what it does not name is no key of
    ours; without that file the last by name signs and the others verify.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        # Names of files, each with the cause; as of the last call of files().
        self.unreadable: list[str] = []

    @property
    def ring_file(self) -> Path:
        return self.path / "ring.json"

    def statuses(self) -> dict[str, KeyStatus] | None:
        """By kid; None without a ring.json. Raises ImproperlyConfigured for one that makes no sense."""
        # A link to nowhere is not the same as no ring.json.
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
            raise ImproperlyConfigured("ring.json in JWT_KEYS cannot be understood.") from error
        if [each.state for each in statuses.values()].count(KeyState.SIGNING) != 1:
            raise ImproperlyConfigured("ring.json in JWT_KEYS must name one key that signs.")
        return statuses

    def files(self) -> dict[Path, Key]:
        """
        The keys by file, in the order of names; `unreadable` then has the files that were passed over, and why. Raises
        ImproperlyConfigured for a file that was read and will not do: it may be half written.
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
        """As files(), by kid."""
        return {key.kid: key for key in self.files().values()}

    def load(self) -> tuple[dict[str, Key], Key]:
        """All keys of ours by kid, and the one that signs. Raises ImproperlyConfigured."""
        keys, statuses = self.keys(), self.statuses()
        if statuses is not None:
            # Keys of SECRET_KEY are named while the project moves over from it; a key without a file is not here yet,
            # or was taken away.
            known = keys | {key.kid: key for key in derived_keys()}
            keys = {kid: known[kid] for kid in statuses if kid in known}
            signs = next(kid for kid, status in statuses.items() if status.state == KeyState.SIGNING)
        else:
            signs = next(reversed(keys), "")
        if signs not in keys:
            raise ImproperlyConfigured("JWT_KEYS does not hold the key that signs. To make keys: manage.py keys new")
        return keys, keys[signs]

    def fingerprint(self) -> object:
        """Changes with anything in the folder: some 20 microseconds."""
        try:
            with os.scandir(self.path) as files:
                return sorted((each.name, *file_state(each)) for each in files)
        except OSError as error:
            return str(error)
