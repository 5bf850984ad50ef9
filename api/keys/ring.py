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

# The number of unreadable files in one log line.
MAX_FILES_LOGGED = 10
# The time between two polls of the folder, in seconds.
POLL_SECONDS = 0.5


class Keyring:
    """
    The key that signs, and the keys that verify, by their ids. It polls the folder every half second, when it is used.
    If the folder is invalid, the ring keeps its keys. Thread-safe.
    """

    def __init__(self) -> None:
        # Called after a key was removed, so that caches of verified tokens are cleared.
        self.on_drop: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._keys: dict[str, Key] = {}
        self._signing_key: Key | None = None
        self._fingerprint: object = None
        self._is_current = False
        # On the monotonic clock, in seconds.
        self._next_poll = -math.inf
        self._outage_log = OutageLog(
            "The keys in JWT_KEYS cannot be reloaded; the previous keys are used",
            "The keys in JWT_KEYS are reloaded again",
        )

    @property
    def by_kid(self) -> dict[str, Key]:
        self.reload_if_changed()
        return self._keys

    @property
    def signing_key(self) -> Key:
        self.reload_if_changed()
        assert self._signing_key  # noqa: S101 (reload_if_changed() raises without one)
        return self._signing_key

    def is_current(self) -> bool:
        """Whether the folder was valid when it changed last. About 20 microseconds."""
        self.reload_if_changed()
        return self._is_current

    def load(self) -> None:
        """Reads the keys again. Raises ImproperlyConfigured, and then keeps the previous ones."""
        with self._lock:
            self._load()
            self._next_poll = time.monotonic() + POLL_SECONDS

    def reload_if_changed(self) -> None:
        """Call it before each use of the keys. Raises ImproperlyConfigured if none were ever loaded."""
        if time.monotonic() >= self._next_poll:
            with self._lock:
                # Other threads wait, so that none uses a key that was removed.
                if time.monotonic() >= self._next_poll:
                    self._reload()

    def _reload(self) -> None:
        if self._signing_key is None:
            self._load()
        elif settings.JWT_KEYS and (fingerprint := KeyFolder(settings.JWT_KEYS).fingerprint()) != self._fingerprint:
            try:
                self._load()
            except ImproperlyConfigured as error:
                self._fingerprint, self._is_current = fingerprint, False
                self._outage_log.failed(error)
        self._next_poll = time.monotonic() + POLL_SECONDS

    def _load(self) -> None:
        if settings.JWT_KEYS:
            folder = KeyFolder(settings.JWT_KEYS)
            fingerprint = folder.fingerprint()
            try:
                keys, signing_key = folder.load()
            finally:
                if folder.unreadable:
                    logger.warning(
                        "Files in JWT_KEYS cannot be read: %s", ", ".join(folder.unreadable[:MAX_FILES_LOGGED])
                    )
        else:
            keys, fingerprint = {key.kid: key for key in derived_keys()}, None
            signing_key = list(keys.values())[-1]
        dropped = self._keys.keys() - keys.keys()
        self._keys, self._signing_key, self._fingerprint = keys, signing_key, fingerprint
        self._is_current = True
        self._outage_log.recovered()
        if dropped:
            for callback in self.on_drop:
                callback()


keyring = Keyring()


def _follow_settings(*, setting: str, **kwargs: object) -> None:
    if setting in ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "JWT_KEYS"):
        keyring.load()


setting_changed.connect(_follow_settings)
