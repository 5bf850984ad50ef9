"""The ways to sign in, tried by strangers from any address."""

from typing import Any

from accounts import rate_limits

WRONG = "not the right passphrase at all"
NEW_PASSWORD = "a quite different passphrase"
FREE = rate_limits.LIMITS[rate_limits.Kind.PAIR].free_attempts
ADDRESSES = [f"192.0.2.{number}" for number in range(1, 255)]


class Door:
    """One way to sign in, as strangers come to it: every try from a new browser."""

    def __init__(self, path: str, browser: type, api: Any) -> None:
        self.path, self.browser, self.api = path, browser, api

    def knock(self, username: str, password: str, address: str = "198.51.100.7", **extra: Any) -> Any:
        credentials = {"username": username, "password": password}
        if self.path.startswith("/api/"):
            return self.api.post(self.path, credentials, REMOTE_ADDR=address, **extra)
        return self.browser().post(self.path, credentials, REMOTE_ADDR=address, **extra)

    def opens(self, *args: Any, **kwargs: Any) -> bool:
        return self.knock(*args, **kwargs).status_code == (200 if self.path.startswith("/api/") else 302)


def exhaust(door, username="sue", address="198.51.100.7"):
    for _ in range(FREE):
        door.knock(username, WRONG, address)
