"""Users with second factors: they add them over the API, as a client does."""

import base64
import time
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from tests.authenticator import Authenticator
from tests.conftest import ApiClient

SECOND_STEP = "/api/token/second-step/"


class App:
    """An authenticator app with one secret."""

    def __init__(self, secret: bytes) -> None:
        self._totp = TOTP(secret, 6, SHA1(), 30)  # noqa: S303

    @classmethod
    def of_secret(cls, secret: str) -> "App":
        """Returns the app with a secret in base32, as the API returns it."""
        return cls(base64.b32decode(secret + "=" * (-len(secret) % 8)))

    def code(self, later: int = 0) -> str:
        """
        Returns the code of the time step that is `later` steps after the current one.

        It waits for the next step if the current one ends within three seconds: the code is still the one of that
        step when the server checks it.
        """
        left = 30 - time.time() % 30
        if left < 3:
            time.sleep(left)
        return self._totp.generate(int(time.time()) + 30 * later).decode()

    def wrong_code(self) -> str:
        """Returns a code that is valid in no accepted time step."""
        valid = {self.code(step) for step in (-1, 0, 1)}
        return next(code for code in ("000000", "111111", "222222", "333333") if code not in valid)


def add_app(client: ApiClient) -> tuple[App, list[str]]:
    """Adds an authenticator app to the user of a client. Returns it and the recovery codes."""
    made = client.post("/api/factors/totp/", {})
    assert made.status_code == 201, made.content
    app = App.of_secret(made.json()["secret"])
    # The code of the step before, so that tests can use the current one.
    confirmed = client.post("/api/factors/totp/confirm/", {"id": made.json()["id"], "code": app.code(-1)})
    assert confirmed.status_code == 200, confirmed.content
    return app, confirmed.json()["recovery_codes"]


def add_passkey(client: ApiClient, authenticator: Authenticator | None = None, **changes: Any) -> Authenticator:
    """Adds a passkey to the user of a client."""
    authenticator = authenticator or Authenticator()
    response = send_passkey(client, authenticator, **changes)
    assert response.status_code == 201, response.content
    return authenticator


def send_passkey(client: ApiClient, authenticator: Authenticator, **changes: Any) -> Any:
    options = client.post("/api/factors/passkey/options/", {}).json()
    credential = authenticator.create(options["publicKey"], **changes)
    return client.post("/api/factors/passkey/", {"step": options["step"], "credential": credential})


def password_step(user: Any, password: str, **fields: Any) -> dict[str, Any]:
    """Returns the body of second_step_required."""
    response = ApiClient().post("/api/token/", {"username": user.username, "password": password, **fields})
    assert response.status_code == 403, response.content
    return response.json()
