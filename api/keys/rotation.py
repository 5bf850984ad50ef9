"""The steps of a key's life, each safe for those who are signed in: published, signing, verifying, gone."""

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

# How long the news of a key may take to every node, and into every copy of our JWKS.
PROPAGATION_TIME = timedelta(minutes=10)


class StepRefused(Exception):
    """The step makes no sense, or would sign people out."""


class Rotation:
    def __init__(self, folder: str) -> None:
        self.folder = KeyFolder(folder)

    def statuses(self) -> dict[str, KeyStatus]:
        """What is in the folder; at the beginning, what signs without it."""
        statuses = self.folder.statuses()
        if statuses is not None:
            return statuses
        *others, signs = self.folder.keys() or [key.kid for key in derived_keys()]
        now = timezone.now()
        return {kid: KeyStatus(KeyState.VERIFYING, now) for kid in others} | {signs: KeyStatus(KeyState.SIGNING, now)}

    def publish(self, algorithm: str) -> str:
        """Publishes a key, which signs nothing yet. Returns its kid."""
        key = Key.generate(algorithm)
        self.folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._change() as statuses:
            self._write(f"{key.kid}.pem", key.pem)
            statuses[key.kid] = KeyStatus(KeyState.PUBLISHED, timezone.now())
        return key.kid

    def promote(self, kid: str, force: bool = False) -> None:
        """From now on it signs, and what signed before still verifies. Raises StepRefused."""
        with self._change() as statuses:
            if statuses[kid].state == KeyState.SIGNING:
                raise StepRefused("It signs already.")
            if kid not in self.folder.load()[0]:
                raise StepRefused("Its file is not in the folder.")
            self._check_is_safe(statuses[kid], force, "Not every node and service may know it yet.")
            now = timezone.now()
            previous = next(each for each, status in statuses.items() if status.state == KeyState.SIGNING)
            statuses |= {previous: KeyStatus(KeyState.VERIFYING, now), kid: KeyStatus(KeyState.SIGNING, now)}

    def retire(self, kid: str, force: bool = False) -> None:
        """It is gone, and with it everything that it signed. Raises StepRefused."""
        with self._change() as statuses:
            if statuses[kid].state == KeyState.SIGNING:
                raise StepRefused("It signs. Promote another key first.")
            self._check_is_safe(statuses[kid], force, "Tokens that it signed are still good.")
            del statuses[kid]
        for path, key in self.folder.files().items():
            if key.kid == kid:
                path.unlink()

    def next_step_at(self, status: KeyStatus) -> datetime | None:
        """When it may be promoted, or retired, without signing anybody out."""
        if status.state == KeyState.SIGNING:
            return None
        known_everywhere = status.since + PROPAGATION_TIME
        if status.state == KeyState.PUBLISHED:
            return known_everywhere
        last_access = known_everywhere + settings.ACCESS_TOKEN
        last_refresh = SignIn.objects.last_expiry_of_refresh_tokens(made_before=known_everywhere)
        return max(last_access, last_refresh or last_access) + settings.JWT_LEEWAY

    def _check_is_safe(self, status: KeyStatus, force: bool, reason: str) -> None:
        safe_at = self.next_step_at(status)
        if safe_at and safe_at > timezone.now() and not force:
            raise StepRefused(f"{reason} Safe from {safe_at:%Y-%m-%d %H:%M} UTC, or at once with --force.")

    @contextmanager
    def _change(self) -> Iterator[dict[str, KeyStatus]]:
        """The statuses, to be changed; written if all went well. One change at a time."""
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
        """All or nothing, readable by its owner only."""
        draft = self.folder.path / f".{name}.{os.getpid()}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.folder.path / name)
