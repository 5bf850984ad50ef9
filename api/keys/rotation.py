"""Key rotation: publish, promote and retire keys without signing users out."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from accounts.models import SignIn
from api.keys.folder import KeyFolder, KeyState, KeyStatus
from api.keys.key import Key, derived_keys

# How long a new key may take to reach every node and every cached copy of the JWKS.
PROPAGATION_TIME = timedelta(minutes=10)


def next_minute(at: datetime) -> datetime:
    """The first full minute that is not before a time. Times are shown in minutes, and a step works then."""
    minute = at.replace(second=0, microsecond=0)
    return minute if minute == at else minute + timedelta(minutes=1)


class StepRefused(Exception):
    """The step does not apply to the state of the key, or would sign users out."""


class Rotation:
    """Changes the states of the keys in a folder, one change at a time."""

    def __init__(self, folder: str) -> None:
        self.folder = KeyFolder(folder)

    def statuses(self) -> dict[str, KeyStatus]:
        """The status of each key by kid. Without a ring.json, those of the keys that are used without it."""
        statuses = self.folder.statuses()
        if statuses is not None:
            return statuses
        *others, signs = self.folder.keys() or [key.kid for key in derived_keys()]
        now = timezone.now()
        return {kid: KeyStatus(KeyState.VERIFYING, now) for kid in others} | {signs: KeyStatus(KeyState.SIGNING, now)}

    def publish(self, algorithm: str) -> str:
        """Creates a key that does not sign yet. Returns its kid."""
        key = Key.generate(algorithm)
        self.folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._change() as statuses:
            self._write(f"{key.kid}.pem", key.pem)
            statuses[key.kid] = KeyStatus(KeyState.PUBLISHED, timezone.now())
        return key.kid

    def promote(self, kid: str, force: bool = False) -> None:
        """Makes a key the one that signs; the previous one still verifies. Raises StepRefused."""
        with self._change() as statuses:
            if statuses[kid].state == KeyState.SIGNING:
                raise StepRefused("The key signs already.")
            if kid not in self.folder.load()[0]:
                raise StepRefused("The file of the key is not in the folder. Copy it there first.")
            self._check_is_safe(statuses[kid], force, "Not every node and service may know the key yet.")
            now = timezone.now()
            previous = next(each for each, status in statuses.items() if status.state == KeyState.SIGNING)
            statuses |= {previous: KeyStatus(KeyState.VERIFYING, now), kid: KeyStatus(KeyState.SIGNING, now)}

    def retire(self, kid: str, force: bool = False) -> None:
        """Deletes a key. All tokens that it signed become invalid. Raises StepRefused."""
        with self._change() as statuses:
            if statuses[kid].state == KeyState.SIGNING:
                raise StepRefused("The key signs. Promote another key first.")
            self._check_is_safe(statuses[kid], force, "Tokens that the key signed are still valid.")
            del statuses[kid]
        for path, key in self.folder.files().items():
            if key.kid == kid:
                path.unlink()

    def next_step_at(self, status: KeyStatus) -> datetime | None:
        """The full minute from which the key can be promoted or retired without signing users out; None if it signs."""
        if status.state == KeyState.SIGNING:
            return None
        known_everywhere = status.since + PROPAGATION_TIME
        if status.state == KeyState.PUBLISHED:
            return next_minute(known_everywhere)
        last_access = known_everywhere + settings.ACCESS_TOKEN
        last_refresh = SignIn.objects.last_expiry_of_refresh_tokens(made_before=known_everywhere)
        return next_minute(max(last_access, last_refresh or last_access) + settings.JWT_LEEWAY)

    def _check_is_safe(self, status: KeyStatus, force: bool, reason: str) -> None:
        safe_at = self.next_step_at(status)
        if safe_at and safe_at > timezone.now() and not force:
            raise StepRefused(f"{reason} Safe from {safe_at:%Y-%m-%d %H:%M} UTC, or at once with --force.")

    @contextmanager
    def _change(self) -> Iterator[dict[str, KeyStatus]]:
        """The statuses, for changes; written if no exception is raised. A lock on the folder excludes other changes."""
        folder = os.open(self.folder.path, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            statuses = self.statuses()
            yield statuses
            ring = {kid: {"state": each.state, "since": each.since.isoformat()} for kid, each in statuses.items()}
            self._write(self.folder.ring_file.name, json.dumps(ring, indent=2).encode() + b"\n")
            os.fsync(folder)
        finally:
            os.close(folder)

    def _write(self, name: str, content: bytes) -> None:
        """Writes a file atomically, readable by its owner only."""
        draft = self.folder.path / f".{name}.{os.getpid()}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.folder.path / name)
