"""The states of a key: published, signing, verifying, removed."""

import json
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import jwt
import pytest
import time_machine
from django.core.management import CommandError
from django.utils import timezone
from jwt.utils import base64url_encode

from api.keys import Key, keyring, rotation
from api.tokens import AccessToken
from tests.conftest import claims_of, header_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("poll_every_time")]

OTHER_SECRET_KEY = "another-9Rk2mVx7Lq4TzWc8NfHs3YbJd6PgAu5EeKt1Ro"


def kid_of(token):
    return header_of(token)["kid"]


# The steps


def test_a_first_key_is_published_and_does_not_sign_yet(folder, ring, client_of, ann):
    assert sorted(ring().values()) == ["published", "signing"]
    assert header_of(client_of(ann).access)["alg"] == "HS256"


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


def test_tokens_signed_before_a_promotion_stay_valid(folder, of, command, client_of, ann):
    client = client_of(ann)
    command("promote", of("published"))
    assert client.get("/api/me/").status_code == 200
    assert client.renew().status_code == 200


def test_the_move_from_hs256_ends_no_sign_in(folder, of, command, client_of, ann):
    client = client_of(ann)
    command("promote", of("published"))
    client.renew()
    with time_machine.travel(timezone.now() + timedelta(minutes=11)):
        client.renew()
    with time_machine.travel(timezone.now() + timedelta(minutes=21)):
        command("retire", of("verifying"))
        assert client.renew().status_code == 200
        assert client.get("/api/me/").status_code == 200


def test_a_key_is_not_promoted_before_it_has_propagated(folder, ring, command):
    [[kid, *_]] = command("new")
    with pytest.raises(CommandError, match="Not every node"):
        command("promote", kid)
    assert ring()[kid] == "published"


def test_a_key_is_promoted_after_it_has_propagated(folder, ring, command):
    [[kid, *_]] = command("new")
    with time_machine.travel(timezone.now() + timedelta(minutes=11)):
        command("promote", kid)
    assert ring()[kid] == "signing"


def test_a_key_is_promoted_at_the_minute_that_the_refusal_names(folder, ring, command):
    with time_machine.travel(datetime(2030, 1, 1, 12, 0, 59, 500_000, UTC), tick=False):
        [[kid, *_]] = command("new")
        with pytest.raises(CommandError, match="Safe from 2030-01-01 12:11 UTC"):
            command("promote", kid)
    with time_machine.travel(datetime(2030, 1, 1, 12, 11, tzinfo=UTC), tick=False):
        command("promote", kid)
    assert ring()[kid] == "signing"


def test_a_promotion_can_be_reverted_at_once(folder, of, ring, command):
    before = of("signing")
    command("promote", of("published"))
    with pytest.raises(CommandError):
        command("promote", before)
    command("promote", before, "--force")
    assert ring()[before] == "signing"


def test_the_signing_key_is_not_retired_even_by_force(folder, of, command):
    with pytest.raises(CommandError, match="Promote another"):
        command("retire", of("signing"), "--force")


def test_a_key_is_not_retired_while_its_refresh_tokens_are_valid(folder, of, command, client_of, ann):
    client_of(ann)
    command("promote", of("published"))
    with time_machine.travel(timezone.now() + timedelta(days=13, hours=23)), pytest.raises(CommandError, match="still"):
        command("retire", of("verifying"))


def test_a_key_is_retired_once_its_last_refresh_token_has_expired(folder, of, ring, command, client_of, ann):
    client_of(ann)
    command("promote", of("published"))
    with time_machine.travel(timezone.now() + timedelta(days=14, minutes=2)):
        command("retire", of("verifying"))
    assert list(ring().values()) == ["signing"]


def test_a_sign_in_extended_under_an_older_setting_counts_too(folder, of, command, client_of, ann, settings):
    client_of(ann)
    settings.REFRESH_TOKEN = timedelta(days=1)
    command("promote", of("published"))
    with time_machine.travel(timezone.now() + timedelta(days=2)), pytest.raises(CommandError, match="still"):
        command("retire", of("verifying"))


def test_an_ended_sign_in_does_not_delay_a_retirement(folder, of, command, client_of, ann):
    client_of(ann).post("/api/sign-ins/end-all/", {})
    command("promote", of("published"))
    with time_machine.travel(timezone.now() + timedelta(minutes=17)):
        command("retire", of("verifying"))


def test_a_key_is_not_retired_while_its_access_tokens_are_valid(folder, of, command):
    command("promote", of("published"))
    with time_machine.travel(timezone.now() + timedelta(minutes=14)), pytest.raises(CommandError, match="still"):
        command("retire", of("verifying"))


def test_a_dropped_key_invalidates_its_tokens_at_once(folder, of, command, client_of, anonymous, ann):
    command("promote", of("published"))
    stolen, client = of("signing"), client_of(ann)
    assert client.get("/api/me/").status_code == 200
    command("promote", of("verifying"), "--force")
    command("retire", stolen, "--force")
    assert client.get("/api/me/").status_code == 401
    assert anonymous.post("/api/token/verify/", {"token": client.access}).status_code == 401
    assert client.renew().status_code == 401
    assert not (folder / f"{stolen}.pem").exists()


def test_removing_a_file_drops_its_key(folder, of, command, client_of, ann):
    command("promote", of("published"))
    stolen, client = of("signing"), client_of(ann)
    command("promote", of("verifying"), "--force")
    assert client.get("/api/me/").status_code == 200
    (folder / f"{stolen}.pem").unlink()
    assert client.get("/api/me/").status_code == 401


def test_a_verification_during_a_drop_is_not_cached(folder, of, command, client_of, ann):
    command("promote", of("published"))
    client, backend = client_of(ann), AccessToken._token_backend
    slow_thread = backend._cached_claims
    command("promote", of("verifying"), "--force")
    command("retire", kid_of(client.access), "--force")
    assert client.get("/api/me/").status_code == 401
    # A thread that still caches its result writes to a cache that is no longer used.
    assert slow_thread is not backend._cached_claims


def test_a_key_that_is_not_in_the_ring_verifies_nothing(folder, client_of, ann):
    stray = Key.generate("ES256")
    (folder / "stray.pem").write_bytes(stray.pem)
    client = client_of(ann)
    forged = jwt.encode(
        claims_of(client.access),
        stray.signing,
        algorithm="ES256",
        headers={"kid": stray.kid, "typ": "at+jwt"},
    )
    client.access = forged
    assert client.get("/api/me/").status_code == 401


def test_concurrent_changes_by_two_processes_are_both_kept(folder, ring):
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: rotation.Rotation(str(folder)).publish("EdDSA"), range(8)))
    assert set(made) <= ring().keys()


# The command


def test_the_list_shows_the_state_of_each_key_and_the_next_step(folder, of, command):
    signing, published = of("signing"), of("published")
    _heading, *lines = command()
    assert [line[:3] for line in lines] == [[signing, "HS256", "signing"], [published, "ES256", "published"]]
    assert lines[1][5:7] == ["promote", "from"]


def test_a_kid_can_be_abbreviated(folder, of, ring, command):
    kid = of("published")
    command("promote", kid[:8])
    assert ring()[kid] == "signing"


def test_an_unknown_kid_is_an_error(folder, command):
    with pytest.raises(CommandError, match="0 keys begin with"):
        command("promote", "nothing-like-it")


def test_without_a_folder_there_is_nothing_to_rotate(command):
    with pytest.raises(CommandError, match="JWT_KEYS"):
        command("new")


def test_files_are_readable_by_their_owner_only(folder):
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_only_keys_and_the_ring_remain_in_the_folder(folder, command):
    command("new")
    assert {file.suffix for file in folder.iterdir()} == {".pem", ".json"}


# A folder without ring.json


@pytest.fixture
def bare(tmp_path, settings):
    """A folder with two keys made by hand."""
    for name in ["1.pem", "2.pem"]:
        (tmp_path / name).write_bytes(Key.generate("ES256").pem)
    settings.JWT_KEYS = str(tmp_path)
    return tmp_path


def test_without_a_ring_the_last_by_name_signs(bare, client_of, ann):
    client = client_of(ann)
    assert kid_of(client.access) == Key.from_pem(bare / "2.pem").kid
    assert client.get("/api/me/").status_code == 200


def test_without_a_ring_hs256_is_refused(settings, tmp_path, client_of, ann):
    client = client_of(ann)
    (tmp_path / "1.pem").write_bytes(Key.generate("ES256").pem)
    settings.JWT_KEYS = str(tmp_path)
    assert client.get("/api/me/").status_code == 401


def test_the_first_step_includes_existing_keys(bare, command):
    first, second = (Key.from_pem(bare / name).kid for name in ["1.pem", "2.pem"])
    command("new")
    ring = json.loads((bare / "ring.json").read_text())
    assert (ring[first]["state"], ring[second]["state"]) == ("verifying", "signing")


def test_a_key_of_any_file_name_is_retired(bare, command):
    first = Key.from_pem(bare / "1.pem").kid
    command("new")
    command("retire", first, "--force")
    assert not (bare / "1.pem").exists()


def test_a_kid_is_never_parsed_as_an_option():
    assert not [key.kid for key in (Key.generate("ES256") for _ in range(500)) if key.kid.startswith("-")]


# Cost


def test_the_folder_is_polled_twice_a_second_at_most(folder, client_of, ann, monkeypatch):
    client = client_of(ann)
    monkeypatch.setattr("api.keys.ring.POLL_SECONDS", 0.5)
    keyring.reload_if_changed()
    looks = []
    monkeypatch.setattr(os, "scandir", lambda path, scandir=os.scandir: looks.append(path) or scandir(path))
    started = time.monotonic()
    for _ in range(200):
        client.get("/api/me/")
    assert len(looks) <= 2 * (time.monotonic() - started) + 1


def test_unknown_kids_cause_no_poll_no_file_and_no_statement(
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


# A new SECRET_KEY without JWT_KEYS


def test_a_new_secret_key_refuses_no_token_with_the_old_as_fallback(settings, client_of, anonymous, ann):
    idle, busy, old = client_of(ann), client_of(ann), settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = OTHER_SECRET_KEY, [old]
    for client in (idle, busy):
        assert client.get("/api/me/").status_code == 200
        for token in (client.access, client.refresh):
            assert anonymous.post("/api/token/verify/", {"token": token}).status_code == 200
    before = kid_of(busy.access)
    assert busy.renew().status_code == 200
    # New tokens are signed by the new key; older tokens stay valid.
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
    # A new sign-in succeeds.
    assert client.sign_in(ann.username, password).status_code == 200
    assert client.get("/api/me/").status_code == client.renew().status_code == 200
