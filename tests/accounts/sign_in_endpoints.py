"""The endpoints that sign in, for tests that send many attempts from different addresses."""

from typing import Any

from accounts import rate_limits

WRONG = "not the right passphrase at all"
NEW_PASSWORD = "a quite different passphrase"
FREE = rate_limits.LIMITS[rate_limits.Kind.PAIR].free_attempts
ADDRESSES = [f"192.0.2.{number}" for number in range(1, 255)]


class SignInEndpoint:
    """One endpoint that signs in. Each attempt comes from a new browser without cookies."""

    def __init__(self, path: str, browser: type, api: Any) -> None:
        self.path, self.browser, self.api = path, browser, api

    def attempt(self, username: str, password: str, address: str = "198.51.100.7", **extra: Any) -> Any:
        credentials = {"username": username, "password": password}
        if self.path.startswith("/api/"):
            return self.api.post(self.path, credentials, REMOTE_ADDR=address, **extra)
        return self.browser().post(self.path, credentials, REMOTE_ADDR=address, **extra)

    def accepts(self, *args: Any, **kwargs: Any) -> bool:
        return self.attempt(*args, **kwargs).status_code == (200 if self.path.startswith("/api/") else 302)


def exhaust(endpoint, username="sue", address="198.51.100.7"):
    for _ in range(FREE):
        endpoint.attempt(username, WRONG, address)
