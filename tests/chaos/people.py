"""The users of a load: their passwords, authenticator apps and recovery codes, as far as their clients know them."""

import asyncio
import base64
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

PASSWORD = "violet anchor hums at dawn"
STEP_SECONDS = 30
# With fewer unused recovery codes a client asks for new ones.
FEW_CODES = 5


@dataclass(frozen=True)
class Code:
    """A code of a second factor. `name` identifies it in the history."""

    field: str
    text: str
    name: str


class SecondFactors:
    """The authenticator app of a user, and the recovery codes. Each code is used once, whatever the response is."""

    def __init__(self, owner: str, secret: str, recovery_codes: Iterable[str]) -> None:
        self.owner = owner
        self._totp = TOTP(base64.b32decode(secret + "=" * (-len(secret) % 8)), 6, SHA1(), STEP_SECONDS)  # noqa: S303
        # The code that confirmed the app is used.
        self._last_step = int(time.time()) // STEP_SECONDS
        self.recovery_codes = list(recovery_codes)

    def take(self) -> Code | None:
        """Returns an unused code: of the app, if the last one is of an earlier time step; None if there is none."""
        step = int(time.time()) // STEP_SECONDS
        if step > self._last_step:
            self._last_step = step
            text = self._totp.generate(step * STEP_SECONDS).decode()
            return Code("code", text, f"{self.owner} totp {step}")
        if self.recovery_codes:
            text = self.recovery_codes.pop()
            return Code("recovery_code", text, f"{self.owner} recovery code {text}")
        return None

    @property
    def has_code(self) -> bool:
        """Whether take() returns one."""
        return bool(self.recovery_codes) or int(time.time()) // STEP_SECONDS > self._last_step

    @property
    def needs_codes(self) -> bool:
        return len(self.recovery_codes) < FEW_CODES


class Person:
    def __init__(self, name: str, second_factors: SecondFactors | None = None) -> None:
        self.name = name
        self.passwords = [PASSWORD]
        self.clients: list[Any] = []
        self.second_factors = second_factors
        # Wholesale ends and sign-ins of one user are serialized, so that it is known which sign-ins an end affects.
        # Set by load.run(), since a lock belongs to one event loop.
        self.lock: asyncio.Lock
        self.live: set[str] = set()
