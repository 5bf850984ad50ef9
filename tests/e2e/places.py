"""
The site as deployed, by HTTPS, and the places of a browser app: its own origin, sub-domains, and other sites. Cookies
are Secure and have the prefix __Host-, so that plain HTTP is not enough.
"""

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests import databases, servers
from tests.e2e.site import Person

HOST = "www.shop.test"
# By the hosts that the browser resolves to this machine.
APP, SIBLING = "app.shop.test", "other.shop.test"
LISTED_SITE, OTHER_SITE = "app.partner.test", "app.elsewhere.test"
SERVICE = "reports.service.test"
BLANK = b"<!doctype html><title>App</title><link rel=icon href=data:,>"
TYPES = {"html": "text/html", "js": "text/javascript"}


class StaticServer:
    """An HTTPS server of files, or of a service that answers each call with JSON and records its headers."""

    def __init__(self, host: str, certificate: Path, is_service: bool = False) -> None:
        self.files: dict[str, bytes] = {}
        self.calls: list[Mapping[str, str]] = []
        places = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                places.calls.append(self.headers)
                path = self.path.partition("?")[0].lstrip("/") or "index.html"
                body = b'{"report": "Sales"}' if is_service else places.files.get(path, BLANK)
                kind = "application/json" if is_service else TYPES.get(path.rpartition(".")[2], "text/html")
                self._answer(200, body, kind)

            def do_OPTIONS(self) -> None:
                self._answer(204, b"", "text/plain")

            def _answer(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Access-Control-Allow-Origin", "*")
                self.send_header("Access-Control-Allow-Headers", "authorization, dpop")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.origin = f"https://{host}:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Shop(servers.Node):
    """The project by HTTPS, without DEBUG."""

    def __init__(self, folder: Path, env: Mapping[str, str], certificate: Path) -> None:
        super().__init__(folder, env, 2, ["--threads=4", f"--certfile={certificate}", f"--keyfile={certificate}"])
        self.port = self.address.rpartition(":")[2]
        self.origin = f"https://{HOST}:{self.port}"
        self.http = httpx.Client(
            base_url=f"https://{self.address}",
            verify=False,  # noqa: S501
            headers={"Host": f"{HOST}:{self.port}"},
            trust_env=False,
            timeout=30,
        )
        self.servers: dict[str, StaticServer] = {}

    def answers(self) -> bool:
        try:
            return self.http.get("/health/live").status_code == 200
        except httpx.TransportError:
            return False

    def origin_of(self, host: str) -> str:
        return self.origin if host == HOST else self.servers[host].origin

    def sign_up(self, name: str) -> Person:
        username = f"{name}-{uuid4().hex[:8]}"
        person = Person(username, f"{username}@example.org", "violet anchor hums at dawn")
        answer = self.http.post("/api/register/", json=vars(person))
        assert answer.status_code == 201, answer.text
        return person

    def start_client(self, person: Person) -> dict[str, Any]:
        answer = self.http.post("/api/token/", json={"username": person.username, "password": person.password})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def me(self, access: str) -> httpx.Response:
        return self.http.get("/api/me/", headers={"Authorization": f"Bearer {access}"})


def certificate(folder: Path) -> Path:
    """A file with a key and a self-signed certificate. The browser is told to accept it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    pkcs8 = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, *pkcs8) + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@contextmanager
def running(folder: Path) -> Iterator[Shop]:
    """The site, a server for each place of an app, and a service that trusts its tokens."""
    pem = certificate(folder)
    hosts = (APP, SIBLING, LISTED_SITE, OTHER_SITE, SERVICE)
    places = {host: StaticServer(host, pem, is_service=host == SERVICE) for host in hosts}
    env = {
        "DATABASE_URL": databases.migrated(folder, "shop"),
        "ALLOWED_HOSTS": HOST,
        "APP_ORIGINS": places[APP].origin,
        "CORS_ALLOWED_ORIGINS": places[LISTED_SITE].origin,
        "JWT_AUDIENCES": "reports",
        "ACCOUNT_RATE": "100000/hour",
        "DEMO": "false",
    }
    log = folder / "shop"
    log.mkdir()
    shop = Shop(log, env, pem)
    shop.servers = places
    try:
        with servers.running(shop):
            yield shop
    finally:
        for place in places.values():
            place.close()
