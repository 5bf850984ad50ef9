"""Invalid key folders and weak keys."""

import base64
import logging
from math import prod
from random import Random

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from django.core.exceptions import ImproperlyConfigured

from api.keys import Key
from api.keys.key import ROCA_PRIMES
from tests.api.test_key_ring import kid_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("poll_every_time")]


def pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


# Invalid folders


SPOILT = {
    "a PEM that is none": lambda folder, pem: (folder / "x.pem").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n"),
    "half a PEM": lambda folder, pem: pem.write_bytes(pem.read_bytes()[:100]),
    "an empty PEM": lambda folder, pem: pem.write_bytes(b""),
    "a public key": lambda folder, pem: (folder / "x.pem").write_bytes(
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    ),
    "no file of the key that signs": lambda folder, pem: pem.unlink(),
    "a ring that is no JSON": lambda folder, pem: (folder / "ring.json").write_text("{"),
    "a ring that is a list": lambda folder, pem: (folder / "ring.json").write_text("[]"),
    "an empty ring": lambda folder, pem: (folder / "ring.json").write_text("{}"),
    "a ring of strange states": lambda folder, pem: (folder / "ring.json").write_text(
        (folder / "ring.json").read_text().replace('"signing"', '"singing"')
    ),
    "a ring in which all sign": lambda folder, pem: (folder / "ring.json").write_text(
        (folder / "ring.json").read_text().replace('"verifying"', '"signing"')
    ),
    "no folder": lambda folder, pem: folder.rename(folder.parent / "elsewhere"),
    "an empty folder": lambda folder, pem: [file.unlink() for file in list(folder.iterdir())],
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_an_invalid_folder_changes_nothing(folder, of, command, client_of, ann, spoil):
    older = client_of(ann)
    command("promote", of("published"))
    client, kid = client_of(ann), of("signing")
    spoil(folder, folder / f"{kid}.pem")
    assert client.get("/api/me/").status_code == 200
    assert older.get("/api/me/").status_code == 200
    assert kid_of(client_of(ann).access) == kid


def test_an_invalid_folder_is_logged_once_and_its_end_once(folder, of, command, client_of, ann, caplog):
    client = client_of(ann)
    (folder / "x.pem").write_text("nonsense")
    with caplog.at_level(logging.WARNING, "api"):
        for _ in range(3):
            client.get("/api/me/")
        (folder / "y.pem").write_text("more nonsense")
        client.get("/api/me/")
        assert [record.message for record in caplog.records] == [
            "The keys in JWT_KEYS cannot be reloaded; the previous keys are used: "
            "x.pem in JWT_KEYS is not an unencrypted PEM private key."
        ]
        caplog.clear()
        (folder / "x.pem").unlink()
        (folder / "y.pem").unlink()
        client.get("/api/me/")
    assert [record.message for record in caplog.records] == ["The keys in JWT_KEYS are reloaded again"]


def test_no_part_of_an_invalid_key_is_logged(folder, of, client_of, ann, caplog):
    path = folder / f"{of('published')}.pem"
    secret = path.read_text().splitlines()[1]
    path.write_text(f"-----BEGIN PRIVATE KEY-----\n{secret}\n")
    client_of(ann)
    assert caplog.records
    assert secret not in caplog.text


def test_a_project_does_not_start_with_an_invalid_folder(tmp_path, settings):
    with pytest.raises(ImproperlyConfigured):
        settings.JWT_KEYS = str(tmp_path)


# Refused keys


def of_roca():
    """Returns a key like those of the library in CVE-2017-15361."""
    random, modulus = Random(7), 2 * prod(ROCA_PRIMES)

    def prime():
        while True:
            candidate = random.getrandbits(810) * modulus + pow(65537, random.getrandbits(64), modulus)
            if candidate.bit_length() > 1024 and pow(2, candidate - 1, candidate) == 1:
                return candidate

    p, q = prime(), prime()
    d = pow(65537, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    private = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    return private.private_key()


WEAK = {
    "RSA of 1024 bits": lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505
    "RSA of 2047 bits": lambda: rsa.generate_private_key(65537, 2047),  # noqa: S505
    "RSA with 3 for an exponent": lambda: rsa.generate_private_key(3, 2048),
    "RSA of ROCA": of_roca,
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "Ed448": ed448.Ed448PrivateKey.generate,
}


@pytest.mark.parametrize("make", WEAK.values(), ids=WEAK)
def test_a_weak_key_is_refused(tmp_path, make):
    (tmp_path / "key.pem").write_bytes(pem(make()))
    with pytest.raises(ImproperlyConfigured, match="none of"):
        Key.from_pem(tmp_path / "key.pem")


def test_a_strong_rsa_key_is_accepted(tmp_path):
    (tmp_path / "key.pem").write_bytes(pem(rsa.generate_private_key(65537, 2048)))
    assert Key.from_pem(tmp_path / "key.pem").algorithm == "RS256"


def test_an_encrypted_key_is_refused(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ImproperlyConfigured, match="unencrypted"):
        Key.from_pem(tmp_path / "key.pem")


def test_a_point_that_is_not_on_the_curve_is_refused(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    # The last bytes are the public point.
    text = base64.encodebytes(der[:-1] + bytes([der[-1] ^ 1])).decode()
    (tmp_path / "key.pem").write_text(f"-----BEGIN PRIVATE KEY-----\n{text}-----END PRIVATE KEY-----\n")
    with pytest.raises(ImproperlyConfigured):
        Key.from_pem(tmp_path / "key.pem")
