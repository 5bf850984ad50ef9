"""The life of a key: published, signing, verifying, gone; and what a folder that makes no sense changes (nothing)."""

import base64
import json
import logging
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from math import prod
from random import Random

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.utils import timezone
from jwt.utils import base64url_encode

from api.keys import Key, keyring, rotation
from api.keys.key import ROCA_PRIMES
from api.tokens import AccessToken

pytestmark = pytest.mark.django_db

OTHER_SECRET_KEY = "another-9Rk2mVx7Lq4TzWc8NfHs3YbJd6PgAu5EeKt1Ro"


@pytest.fixture(autouse=True)
def every_look_counts(monkeypatch):
    """The ring looks into the folder before every answer, so that no test waits for the next look."""
    monkeypatch.setattr("api.keys.ring.POLL_SECONDS", 0)
    monkeypatch.setattr("api.management.commands.keys.POLL_SECONDS", 0)


@pytest.fixture
def folder(tmp_path, settings):
    """JWT_KEYS of a project that signed with SECRET_KEY up to now: one key is published, and may be promoted."""
    make = rotation.Rotation(str(tmp_path / "keys"))
    with time_machine.travel(timezone.now() - timedelta(minutes=11)):
        make.publish("ES256")
    settings.JWT_KEYS = str(tmp_path / "keys")
    return make.folder.path


@pytest.fixture
def command(capsys):
    """What `manage.py keys` prints, word by word in lines."""

    def command(*words):
        call_command("keys", *words)
        return [line.split() for line in capsys.readouterr().out.splitlines()]

    return command


@pytest.fixture
def ring(folder):
    """The states by kid, as they are in the folder."""
    return lambda: {kid: each["state"] for kid, each in json.loads((folder / "ring.json").read_text()).items()}


@pytest.fixture
def of(ring):
    """The kid of the one key that is in a state."""
    return lambda state: next(kid for kid, each in ring().items() if each == state)


def kid_of(token):
    return jwt.get_unverified_header(token)["kid"]


def pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


# The steps


def test_a_project_without_keys_publishes_its_first_and_goes_on_signing_as_before(folder, ring, client_of, ann):
    assert sorted(ring().values()) == ["published", "signing"]
    assert jwt.get_unverified_header(client_of(ann).access)["alg"] == "HS256"


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
def test_a_new_key_is_published_and_does_not_sign(folder, ring, command, client_of, ann, algorithm):
    [[kid, *_]] = command("new", "--algorithm", algorithm)
    assert ring()[kid] == "published"
    assert keyring.by_kid[kid].algorithm == algorithm
    assert kid_of(client_of(ann).access) != kid


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
def test_a_promoted_key_signs_both_kinds_of_token(folder, command, client_of, ann, algorithm):
    [[kid, *_]] = command("new", "--algorithm", algorithm)
    command("promote", kid, "--force")
    client = client_of(ann)
    assert kid_of(client.access) == kid_of(client.refresh) == kid
    assert client.get("/api/me/").status_code == 200
    assert client.renew().status_code == 200


def test_tokens_signed_before_a_promotion_go_on(folder, of, command, client_of, ann):
    client = client_of(ann)
    command("promote", of("published"))
    assert client.get("/api/me/").status_code == 200
    assert client.renew().status_code == 200


def test_the_move_from_hs256_signs_nobody_out(folder, of, command, client_of, ann):
    client = client_of(ann)
    command("promote", of("published"))
    client.renew()
    with time_machine.travel(timezone.now() + timedelta(minutes=11)):
        client.renew()
    with time_machine.travel(timezone.now() + timedelta(minutes=21)):
        command("retire", of("verifying"))
        assert client.renew().status_code == 200
        assert client.get("/api/me/").status_code == 200


def test_a_key_that_is_not_known_everywhere_is_not_promoted(folder, ring, command):
    [[kid, *_]] = command("new")
    with pytest.raises(CommandError, match="Not every node"):
        command("promote", kid)
    assert ring()[kid] == "published"


def test_it_is_promoted_once_it_is(folder, ring, command):
    [[kid, *_]] = command("new")
    with time_machine.travel(timezone.now() + timedelta(minutes=10, seconds=1)):
        command("promote", kid)
    assert ring()[kid] == "signing"


def test_a_promotion_can_be_taken_back_at_once(folder, of, ring, command):
    before = of("signing")
    command("promote", of("published"))
    with pytest.raises(CommandError):
        command("promote", before)
    command("promote", before, "--force")
    assert ring()[before] == "signing"


def test_the_key_that_signs_is_not_retired_even_by_force(folder, of, command):
    with pytest.raises(CommandError, match="Promote another"):
        command("retire", of("signing"), "--force")


def test_a_key_is_not_retired_while_a_refresh_token_of_it_is_good(folder, of, command, client_of, ann):
    client_of(ann)
    command("promote", of("published"))
    with time_machine.travel(timezone.now() + timedelta(days=13, hours=23)), pytest.raises(CommandError, match="still"):
        command("retire", of("verifying"))


def test_a_key_is_retired_once_its_last_refresh_token_has_expired(folder, of, ring, command, client_of, ann):
    client_of(ann)
    command("promote", of("published"))
    with time_machine.travel(timezone.now() + timedelta(days=14, minutes=1)):
        command("retire", of("verifying"))
    assert list(ring().values()) == ["signing"]


def test_a_sign_in_that_was_kept_alive_by_an_older_setting_counts_as_well(
    folder, of, command, client_of, ann, settings
):
    client_of(ann)
    settings.REFRESH_TOKEN = timedelta(days=1)
    command("promote", of("published"))
    with time_machine.travel(timezone.now() + timedelta(days=2)), pytest.raises(CommandError, match="still"):
        command("retire", of("verifying"))


def test_a_sign_in_that_has_ended_holds_no_key_back(folder, of, command, client_of, ann):
    client_of(ann).post("/api/sign-ins/end-all/", {})
    command("promote", of("published"))
    with time_machine.travel(timezone.now() + timedelta(minutes=16)):
        command("retire", of("verifying"))


def test_a_key_is_not_retired_while_an_access_token_of_it_is_good(folder, of, command):
    command("promote", of("published"))
    with time_machine.travel(timezone.now() + timedelta(minutes=14)), pytest.raises(CommandError, match="still"):
        command("retire", of("verifying"))


def test_a_dropped_key_ends_all_that_it_signed_at_the_next_request(folder, of, command, client_of, anonymous, ann):
    command("promote", of("published"))
    stolen, client = of("signing"), client_of(ann)
    assert client.get("/api/me/").status_code == 200
    command("promote", of("verifying"), "--force")
    command("retire", stolen, "--force")
    assert client.get("/api/me/").status_code == 401
    assert anonymous.post("/api/token/verify/", {"token": client.access}).status_code == 401
    assert client.renew().status_code == 401
    assert not (folder / f"{stolen}.pem").exists()


def test_a_file_that_is_taken_away_is_a_key_that_is_dropped(folder, of, command, client_of, ann):
    command("promote", of("published"))
    stolen, client = of("signing"), client_of(ann)
    command("promote", of("verifying"), "--force")
    assert client.get("/api/me/").status_code == 200
    (folder / f"{stolen}.pem").unlink()
    assert client.get("/api/me/").status_code == 401


def test_what_is_being_verified_while_its_key_is_dropped_is_not_remembered(folder, of, command, client_of, ann):
    command("promote", of("published"))
    client, backend = client_of(ann), AccessToken._token_backend
    slow_thread = backend._cached_claims
    command("promote", of("verifying"), "--force")
    command("retire", kid_of(client.access), "--force")
    assert client.get("/api/me/").status_code == 401
    # What a thread that was about to note its result still holds is not what others look into.
    assert slow_thread is not backend._cached_claims


def test_a_key_that_is_not_in_the_ring_verifies_nothing(folder, client_of, ann):
    stray = Key.generate("ES256")
    (folder / "stray.pem").write_bytes(stray.pem)
    client = client_of(ann)
    forged = jwt.encode(
        jwt.decode(client.access, options={"verify_signature": False}),
        stray.signing,
        algorithm="ES256",
        headers={"kid": stray.kid, "typ": "at+jwt"},
    )
    client.access = forged
    assert client.get("/api/me/").status_code == 401


def test_another_process_that_changes_at_the_same_time_loses_nothing(folder, ring):
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: rotation.Rotation(str(folder)).publish("EdDSA"), range(8)))
    assert set(made) <= ring().keys()


# The command


def test_the_list_says_what_each_key_is_and_what_may_be_done_next(folder, of, command):
    signing, published = of("signing"), of("published")
    _heading, *lines = command()
    assert [line[:3] for line in lines] == [[signing, "HS256", "signing"], [published, "ES256", "published"]]
    assert lines[1][5:7] == ["promote", "from"]


def test_the_beginning_of_a_kid_will_do(folder, of, ring, command):
    kid = of("published")
    command("promote", kid[:8])
    assert ring()[kid] == "signing"


def test_a_kid_that_is_nobodys_is_told(folder, command):
    with pytest.raises(CommandError, match="0 keys begin with"):
        command("promote", "nothing-like-it")


def test_without_a_folder_there_is_nothing_to_rotate(command):
    with pytest.raises(CommandError, match="JWT_KEYS"):
        command("new")


def test_files_are_for_their_owner_only(folder):
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_nothing_but_keys_and_the_ring_is_left_behind(folder, command):
    command("new")
    assert {file.suffix for file in folder.iterdir()} == {".pem", ".json"}


# A folder without ring.json


@pytest.fixture
def bare(tmp_path, settings):
    """Two keys that somebody has made by hand."""
    for name in ["1.pem", "2.pem"]:
        (tmp_path / name).write_bytes(Key.generate("ES256").pem)
    settings.JWT_KEYS = str(tmp_path)
    return tmp_path


def test_without_a_ring_the_last_by_name_signs(bare, client_of, ann):
    client = client_of(ann)
    assert kid_of(client.access) == Key.from_pem(bare / "2.pem").kid
    assert client.get("/api/me/").status_code == 200


def test_without_a_ring_hs256_is_over(settings, tmp_path, client_of, ann):
    client = client_of(ann)
    (tmp_path / "1.pem").write_bytes(Key.generate("ES256").pem)
    settings.JWT_KEYS = str(tmp_path)
    assert client.get("/api/me/").status_code == 401


def test_the_first_step_takes_over_what_was_there(bare, command):
    first, second = (Key.from_pem(bare / name).kid for name in ["1.pem", "2.pem"])
    command("new")
    ring = json.loads((bare / "ring.json").read_text())
    assert (ring[first]["state"], ring[second]["state"]) == ("verifying", "signing")


def test_a_key_of_any_file_name_is_retired(bare, command):
    first = Key.from_pem(bare / "1.pem").kid
    command("new")
    command("retire", first, "--force")
    assert not (bare / "1.pem").exists()


def test_no_command_takes_the_id_of_a_new_key_for_an_option():
    assert not [key.kid for key in (Key.generate("ES256") for _ in range(500)) if key.kid.startswith("-")]


# A folder that makes no sense


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
def test_a_folder_that_makes_no_sense_changes_nothing(folder, of, command, client_of, ann, spoil):
    older = client_of(ann)
    command("promote", of("published"))
    client, kid = client_of(ann), of("signing")
    spoil(folder, folder / f"{kid}.pem")
    assert client.get("/api/me/").status_code == 200
    assert older.get("/api/me/").status_code == 200
    assert kid_of(client_of(ann).access) == kid


def test_it_is_told_once_in_the_log_and_once_when_it_is_over(folder, of, command, client_of, ann, caplog):
    client = client_of(ann)
    (folder / "x.pem").write_text("nonsense")
    with caplog.at_level(logging.WARNING, "api"):
        for _ in range(3):
            client.get("/api/me/")
        (folder / "y.pem").write_text("more nonsense")
        client.get("/api/me/")
        assert [record.message for record in caplog.records] == [
            "The keys in JWT_KEYS stay as they were: x.pem in JWT_KEYS is not an unencrypted PEM private key."
        ]
        caplog.clear()
        (folder / "x.pem").unlink()
        (folder / "y.pem").unlink()
        client.get("/api/me/")
    assert [record.message for record in caplog.records] == ["The keys in JWT_KEYS are read again"]


def test_no_part_of_a_spoilt_key_is_in_the_log(folder, of, client_of, ann, caplog):
    path = folder / f"{of('published')}.pem"
    secret = path.read_text().splitlines()[1]
    path.write_text(f"-----BEGIN PRIVATE KEY-----\n{secret}\n")
    client_of(ann)
    assert caplog.records
    assert secret not in caplog.text


def test_a_project_does_not_start_with_a_folder_that_makes_no_sense(tmp_path, settings):
    with pytest.raises(ImproperlyConfigured):
        settings.JWT_KEYS = str(tmp_path)


# Keys that will not do


def of_roca():
    """A key as the library behind CVE-2017-15361 made them."""
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


def test_a_sound_rsa_key_is_not_taken_for_a_weak_one(tmp_path):
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


# What it costs


def test_the_folder_is_looked_at_twice_a_second_at_most(folder, client_of, ann, monkeypatch):
    client = client_of(ann)
    monkeypatch.setattr("api.keys.ring.POLL_SECONDS", 0.5)
    keyring.reload_if_changed()
    looks = []
    monkeypatch.setattr(os, "scandir", lambda path, scandir=os.scandir: looks.append(path) or scandir(path))
    started = time.monotonic()
    for _ in range(200):
        client.get("/api/me/")
    assert len(looks) <= 2 * (time.monotonic() - started) + 1


def test_a_storm_of_unknown_kids_costs_no_look_no_file_and_no_statement(
    folder, anonymous, client_of, ann, monkeypatch, django_assert_num_queries
):
    _header, rest = client_of(ann).access.split(".", 1)
    monkeypatch.setattr("api.keys.ring.POLL_SECONDS", 0.5)
    keyring.reload_if_changed()
    looks, opened = [], []
    monkeypatch.setattr(os, "scandir", lambda path, scandir=os.scandir: looks.append(path) or scandir(path))
    monkeypatch.setattr(Key, "from_pem", lambda path: opened.append(path))
    started = time.monotonic()
    with django_assert_num_queries(0):
        for number in range(1000):
            header = base64url_encode(json.dumps({"alg": "ES256", "typ": "at+jwt", "kid": f"{number}"}).encode())
            answer = anonymous.get("/api/me/", headers={"Authorization": f"Bearer {header.decode()}.{rest}"})
            assert answer.status_code == 401
    assert len(looks) <= 2 * (time.monotonic() - started) + 1
    assert not opened


# A new SECRET_KEY, where JWT_KEYS is not set


def test_a_new_secret_key_refuses_no_token_while_the_old_one_is_named(settings, client_of, anonymous, ann):
    idle, busy, old = client_of(ann), client_of(ann), settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = OTHER_SECRET_KEY, [old]
    for client in (idle, busy):
        assert client.get("/api/me/").status_code == 200
        for token in (client.access, client.refresh):
            assert anonymous.post("/api/token/verify/", {"token": token}).status_code == 200
    before = kid_of(busy.access)
    assert busy.renew().status_code == 200
    # What is made now is of the new key, and good; what was made before goes on beside it.
    assert before not in {kid_of(busy.access), kid_of(busy.refresh), kid_of(client_of(ann).access)}
    assert [each.get("/api/me/").status_code for each in (idle, busy)] == [200, 200]
    assert [each.renew().status_code for each in (idle, busy)] == [200, 200]


@pytest.mark.parametrize("named_for_a_while", [False, True], ids=["at once", "once the old one is named no longer"])
def test_a_new_secret_key_refuses_all_tokens_of_the_old_one(
    settings, client_of, anonymous, ann, password, named_for_a_while
):
    client = client_of(ann)
    assert client.get("/api/me/").status_code == 200
    if named_for_a_while:
        settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = OTHER_SECRET_KEY
    assert client.get("/api/me/").status_code == (200 if named_for_a_while else 401)
    settings.SECRET_KEY_FALLBACKS = []
    answers = [client.get("/api/me/"), anonymous.post("/api/token/refresh/", {"refresh": client.refresh})]
    for token in (client.access, client.refresh):
        answers.append(anonymous.post("/api/token/verify/", {"token": token}))
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(401, "token_not_valid")] * 4
    # Whoever signs in again is let in.
    assert client.sign_in(ann.username, password).status_code == 200
    assert client.get("/api/me/").status_code == client.renew().status_code == 200
