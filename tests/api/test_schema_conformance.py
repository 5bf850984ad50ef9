"""Schemathesis tests a real server, configured as in production, against the schema that it serves."""

import datetime
import ipaddress
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests import databases, servers

HERE = Path(__file__).parent / "schemathesis"
PASSWORD = "violet anchor hums at dawn"
# The user of the schema's examples, and the staff member as whom Schemathesis signs in.
ALICE = {"username": "alice", "email": "alice@example.org", "password": PASSWORD}
# Not the password of the examples, since one of them changes it.
STAFF_PASSWORD = "sixteen tin lanterns sway"
MAKE_STAFF = (
    f"from accounts.models import User; User.objects.create_superuser('sue', 'sue@example.org', '{STAFF_PASSWORD}')"
)


class SecureNode(servers.Node):
    """A node without DEBUG, with HTTPS."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.certificate, key = certificate(folder)
        arguments = ["--threads=4", f"--certfile={self.certificate}", f"--keyfile={key}"]
        super().__init__(folder, env, workers=2, args=arguments)
        self.url = self.url.replace("http:", "https:")

    def answers(self) -> bool:
        try:
            return self.get("/health/live").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str) -> httpx.Response:
        tls = ssl.create_default_context(cafile=self.certificate)
        return httpx.get(self.url + path, verify=tls, timeout=30, trust_env=False)

    def post(self, path: str, body: Any) -> httpx.Response:
        tls = ssl.create_default_context(cafile=self.certificate)
        return httpx.post(self.url + path, json=body, verify=tls, timeout=30, trust_env=False)


def certificate(folder: Path) -> tuple[Path, Path]:
    """The files of a certificate for loopback, valid for a day, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(made.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate_file, key_file


@pytest.fixture
def node(tmp_path: Path) -> Iterator[SecureNode]:
    env = {
        "DATABASE_URL": databases.migrated(tmp_path, "schema"),
        "EMAIL_URL": "dummymail://",
        "JWT_KEYS": str(tmp_path / "keys"),
        "JWT_ISSUER": "https://127.0.0.1",
        "JWT_STATUS_LIST": "true",
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    kid = servers.manage(env, "keys", "new").split()[0]
    servers.manage(env, "keys", "promote", kid, "--force")
    servers.manage(env, "shell", "--verbosity=0", "--command", MAKE_STAFF)
    node = SecureNode(tmp_path, env)
    node.start()
    try:
        yield node
    finally:
        node.stop()


@pytest.mark.long
@pytest.mark.once
@pytest.mark.timeout(300)
def test_the_api_conforms_to_its_schema(node: SecureNode, tmp_path: Path) -> None:
    assert node.post("/api/register/", ALICE).status_code == 201
    env = {"SITE": node.url, "CERTIFICATE": str(node.certificate), "HOOKS": str(HERE / "hooks.py")}
    command = ["--config-file", HERE / "schemathesis.toml", "--no-color", "run", f"{node.url}/api/schema/"]
    # In CI every run tries the same examples.
    seed = ["--seed=1"] if "CI" in os.environ else []
    run = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", *command, "--checks=all", *seed],
        cwd=tmp_path,
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert run.returncode == 0, run.stdout
    assert re.search(r"Selected: (\d+)/\1\s+Tested: \1\b", run.stdout), run.stdout
    assert "Internal Server Error" not in node.log
