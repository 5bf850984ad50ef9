"""The keyring of a process: the key that signs, and the keys that verify."""

import logging
import math
import threading
import time
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from api.keys.folder import KeyFolder
from api.keys.key import Key, derived_keys
from api.outages import OutageLog

logger = logging.getLogger(__name__)

# Of those that cannot be read, in one line.
FILES_LOGGED = 10
# Between two looks at the folder, in seconds.
LOOK_EVERY = 0.5


class Keyring:
    """
    The key that signs, and those that verify, by their ids. It follows the folder: every half second somebody who asks
    looks whether anything in there has changed. A folder that makes no sense changes nothing.
    """

    def __init__(self) -> None:
        # Called after a key was dropped: what was verified with it is verified anew.
        self.on_drop: list[Callable[[], None]] = []
        # Called when the folder was looked at: twice a second at most.
        self.on_look: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._keys: dict[str, Key] = {}
        self._signing_key: Key | None = None
        self._seen: object = None
        # On the monotonic clock, in seconds.
        self._next_look = -math.inf
        self._health = OutageLog("The keys in JWT_KEYS stay as they were", "The keys in JWT_KEYS are read again")

    @property
    def by_kid(self) -> dict[str, Key]:
        self.look()
        return self._keys

    @property
    def signing_key(self) -> Key:
        self.look()
        assert self._signing_key  # noqa: S101 (look() raises without one)
        return self._signing_key

    def load(self) -> None:
        """Reads the keys anew. Raises ImproperlyConfigured, and keeps what it had."""
        with self._lock:
            self._load()
            self._next_look = time.monotonic() + LOOK_EVERY

    def look(self) -> None:
        """Before any answer that depends on the keys. Raises ImproperlyConfigured if there never were any."""
        if time.monotonic() >= self._next_look:
            with self._lock:
                # Others wait: whoever asks after a key was dropped is told so.
                if time.monotonic() >= self._next_look:
                    self._look()

    def _look(self) -> None:
        if self._signing_key is None:
            self._load()
        elif settings.JWT_KEYS and (seen := KeyFolder(settings.JWT_KEYS).fingerprint()) != self._seen:
            try:
                self._load()
            except ImproperlyConfigured as error:
                self._seen = seen
                self._health.is_in_trouble(error)
        self._next_look = time.monotonic() + LOOK_EVERY
        for tell in self.on_look:
            tell()

    def _load(self) -> None:
        if settings.JWT_KEYS:
            folder = KeyFolder(settings.JWT_KEYS)
            seen = folder.fingerprint()
            try:
                keys, signing_key = folder.load()
            finally:
                if folder.unreadable:
                    logger.warning("Files in JWT_KEYS cannot be read: %s", ", ".join(folder.unreadable[:FILES_LOGGED]))
        else:
            keys, seen = {key.kid: key for key in derived_keys()}, None
            signing_key = list(keys.values())[-1]
        dropped = self._keys.keys() - keys.keys()
        self._keys, self._signing_key, self._seen = keys, signing_key, seen
        self._health.is_well()
        if dropped:
            for forget in self.on_drop:
                forget()


keyring = Keyring()


def _follow_settings(*, setting: str, **kwargs: object) -> None:
    if setting in ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "JWT_KEYS"):
        keyring.load()


setting_changed.connect(_follow_settings)
