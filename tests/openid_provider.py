"""Providers on loopback: oidc-provider-mock, made to demand PKCE (RFC 7636) and nonces, and answers of GitHub."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import httpx
from authlib.oauth2.rfc7636 import CodeChallenge
from oidc_provider_mock import _app, run_server_in_thread

# The challenges of the codes that were issued.
_challenges: dict[str, tuple[str, str]] = {}


class _Challenge(CodeChallenge):
    def get_authorization_code_challenge(self, authorization_code):
        return _challenges[authorization_code.code][0]

    def get_authorization_code_challenge_method(self, authorization_code):
        return _challenges[authorization_code.code][1]


class _Grant(_app.AuthorizationCodeGrant):
    # Without PKCE the extension would accept clients that are not public.
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post", "none"]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        _Challenge(required=True)(self)

    def save_authorization_code(self, code, request):
        super().save_authorization_code(code, request)
        sent = request.payload.data
        _challenges[code] = sent["code_challenge"], sent["code_challenge_method"]


class Provider:
    def __init__(self, port: int) -> None:
        self.url = f"http://localhost:{port}"

    def claim(self, subject: str, **claims: object) -> None:
        """Sets what the provider says about a user, in ID tokens and userinfo."""
        httpx.put(f"{self.url}/users/{subject}", json=claims).raise_for_status()

    def sign_in(self, url: str, subject: str) -> str:
        """Signs in on the page to which the browser was sent, and returns where the browser is sent next."""
        return httpx.post(url, data={"sub": subject}).headers["Location"]

    def deny(self, url: str) -> str:
        """As sign_in(), for a user who refuses. The mock omits the state, against RFC 6749, section 4.1.2.1."""
        location = httpx.post(url, data={"action": "deny"}).headers["Location"]
        return f"{location}&state={parse_qs(urlsplit(url).query)['state'][0]}"


@contextmanager
def running(port: int = 0) -> Iterator[Provider]:
    with (
        patch.object(_app, "AuthorizationCodeGrant", _Grant),
        patch.dict("os.environ", AUTHLIB_INSECURE_TRANSPORT="1"),
        run_server_in_thread(port, require_nonce=True) as server,
    ):
        yield Provider(server.server_port)


class _GitHub(BaseHTTPRequestHandler):
    """What github.com answers, by path (GitHub documentation, "Authorizing OAuth apps" and "Emails")."""

    ANSWERS = {
        "/login/oauth/access_token": {"access_token": "gho_x", "token_type": "bearer", "scope": "user:email"},
        "/api/v3/user": {"id": 583231, "login": "octocat", "name": "The Octocat", "email": None},
        "/api/v3/user/emails": [
            {"email": "old@example.org", "primary": False, "verified": False},
            {"email": "octo@example.org", "primary": True, "verified": True},
        ],
    }

    def do_GET(self):
        body = json.dumps(self.ANSWERS[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *args):
        pass


@contextmanager
def github() -> Iterator[str]:
    """Yields the URL of a GitHub Enterprise with one user."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _GitHub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
