"""The Token Status List, by which other services check revocations without a request for each token."""

import base64
import os
import subprocess
import sys
import time
import zlib
from urllib.parse import urlencode
from uuid import UUID

import jwt
import pytest
import time_machine
from django.db import IntegrityError
from django.utils import timezone

from accounts.models import SignIn, User
from api.blocklist import status_list
from api.blocklist.models import Entry, StatusIndex
from api.keys import keyring
from tests import servers
from tests.conftest import bearer, claims_of, header_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("with_status_list")]

LIST = "/api/token/status/0"
VALID, INVALID, SUSPENDED = 0, 1, 2


@pytest.fixture
def get(browser):
    return lambda path=LIST, **headers: browser().get(
        path, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


@pytest.fixture
def read(get):
    """Returns the claims of the list as another service reads them."""

    def read():
        response = get()
        assert response.status_code == 200
        return jwt.decode(response.content.decode(), keyring.signing_key.verifying, algorithms=["ES256"])

    return read


@pytest.fixture
def status_of(read):
    """Returns the status of a token as another service reads it."""

    def status_of(token):
        named = claims_of(token)["status"]["status_list"]
        claims = read()
        assert named["uri"] == claims["sub"]
        return statuses(claims["status_list"])[named["idx"]]

    return status_of


@pytest.fixture
def revoke(browser):
    def revoke(token):
        return browser().generic("POST", "/api/token/revoke/", urlencode({"token": token}), FORM)

    return revoke


FORM = "application/x-www-form-urlencoded"


def statuses(claim):
    """Decodes a list by section 4.1 of the draft, independently of the code that encodes it."""
    packed = zlib.decompress(base64.urlsafe_b64decode(claim["lst"] + "=" * (-len(claim["lst"]) % 4)))
    bits = claim["bits"]
    return [byte >> shift & 2**bits - 1 for byte in packed for shift in range(0, 8, bits)]


# Format


def test_the_example_of_the_draft_is_decoded_and_encoded(monkeypatch):
    """Section 4.1, the list of two bits."""
    values = [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]
    assert statuses({"bits": 2, "lst": "eNo76fITAAPfAgc"}) == values
    invalid = [place for place, value in enumerate(values) if value == 1]
    suspended = [place for place, value in enumerate(values) if value == 2]
    written = statuses({"bits": 2, "lst": status_list.compress(invalid, suspended, 12)})
    assert written == [value if value < 3 else 0 for value in values]


def test_a_token_names_its_index(client_of, ann):
    status = claims_of(client_of(ann).access)["status"]
    place = SignIn.objects.get().status_index
    assert status == {"status_list": {"idx": place, "uri": "https://id.example.org/api/token/status/0"}}


def test_a_refresh_token_has_no_index(client_of, ann):
    assert "status" not in claims_of(client_of(ann).refresh)


def test_the_list_is_a_signed_token_of_its_own_type(client_of, ann, get, read):
    client_of(ann)
    response = get(accept="application/statuslist+jwt")
    header = header_of(response.content)
    assert response.headers["Content-Type"] == "application/statuslist+jwt"
    assert (header["typ"], header["kid"]) == ("statuslist+jwt", keyring.signing_key.kid)
    claims = read()
    assert claims.keys() == {"iss", "sub", "iat", "exp", "ttl", "status_list"}
    assert (claims["iss"], claims["sub"]) == ("https://id.example.org", "https://id.example.org/api/token/status/0")
    assert claims["ttl"] == 10
    assert claims["iat"] <= time.time() < claims["iat"] + claims["ttl"] < claims["exp"]
    assert claims["status_list"].keys() == {"bits", "lst"}


def test_the_list_has_a_fixed_size(client_of, ann, read):
    client_of(ann)
    assert len(statuses(read()["status_list"])) == 2**20


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_the_list_is_not_accepted_as_a_token(client_of, ann, get, browser, anonymous, kind):
    client_of(ann)
    token = get().content.decode()
    assert browser().get("/api/me/", headers=bearer(token)).status_code == 401
    assert anonymous.post("/api/token/refresh/", {"refresh": token}).status_code == 401
    assert anonymous.post("/api/token/verify/", {"token": token}).status_code == 401


# Statuses


def test_a_live_sign_in_is_valid(client_of, ann, status_of):
    assert status_of(client_of(ann).access) == VALID


def test_an_ended_sign_in_is_invalid_and_no_other(client_of, ann, status_of):
    ended, other = client_of(ann), client_of(ann)
    ended.post("/api/sign-ins/end-others/", {})
    assert [status_of(client.access) for client in [ended, other]] == [VALID, INVALID]


def test_every_token_of_an_ended_sign_in_is_invalid(client_of, ann, status_of, revoke):
    client = client_of(ann)
    first = client.access
    client.renew()
    revoke(client.refresh)
    assert [status_of(first), status_of(client.access)] == [INVALID, INVALID]


def test_a_token_revoked_alone_suspends_its_sign_in(client_of, ann, status_of, revoke):
    client, other = client_of(ann), client_of(ann)
    revoke(client.access)
    assert [status_of(client.access), status_of(other.access)] == [SUSPENDED, VALID]


def test_invalid_overrides_suspended(client_of, ann, status_of, revoke):
    client = client_of(ann)
    revoke(client.access)
    revoke(client.refresh)
    assert status_of(client.access) == INVALID


WAYS = {
    "deactivated": lambda user: User.objects.filter(pk=user.pk).update(is_active=False),
    "deleted": lambda user: user.delete(),
    "deleted by a queryset": lambda user: User.objects.filter(pk=user.pk).delete(),
    "a new password": lambda user: (user.set_password("quiet copper lantern drifts"), user.save()),
    "the row updated": lambda user: SignIn.objects.filter(user=user).update(ended_at=timezone.now()),
    "the row deleted": lambda user: SignIn.objects.filter(user=user).delete(),
}


@pytest.mark.parametrize("end", WAYS.values(), ids=WAYS)
def test_every_way_to_end_a_sign_in_is_listed(client_of, ann, status_of, end):
    token = client_of(ann).access
    end(ann)
    assert status_of(token) == INVALID


def test_an_index_stays_marked_until_its_last_token_expires(client_of, ann, status_of, revoke):
    client = client_of(ann)
    revoke(client.refresh)
    expiry = claims_of(client.access)["exp"]
    with time_machine.travel(expiry + 15, tick=False):
        assert status_of(client.access) == INVALID


def test_a_browser_has_no_index(browser_of, ann, settings):
    browser_of(ann)
    assert SignIn.objects.get().status_index is None
    assert not StatusIndex.objects.exists()


# Indexes


def test_each_sign_in_has_its_own_constant_index(client_of, ann):
    clients = [client_of(ann) for _ in range(3)]
    before = [claims_of(client.access)["status"] for client in clients]
    for client in clients:
        client.renew()
    assert [claims_of(client.access)["status"] for client in clients] == before
    assert len({place["status_list"]["idx"] for place in before}) == 3


def test_the_index_of_a_deleted_sign_in_is_not_reused(client_of, ann, bob):
    first = claims_of(client_of(ann).access)["status"]["status_list"]["idx"]
    ann.delete()
    StatusIndex.objects.all().delete()
    assert claims_of(client_of(bob).access)["status"]["status_list"]["idx"] > first


def test_an_older_sign_in_gets_an_index_at_its_next_refresh(client_of, ann, settings, status_of):
    settings.JWT_STATUS_LIST = False
    client = client_of(ann)
    assert "status" not in claims_of(client.access)
    settings.JWT_STATUS_LIST = True
    client.renew()
    assert status_of(client.access) == VALID
    SignIn.objects.get().end("signed_out")
    assert status_of(client.access) == INVALID


def test_an_ended_sign_in_gets_no_index(client_of, ann, settings):
    settings.JWT_STATUS_LIST = False
    client_of(ann)
    settings.JWT_STATUS_LIST = True
    waiting = SignIn.objects.get()
    waiting.end("signed_out")
    assert not StatusIndex.objects.assign(waiting)


def test_two_concurrent_assignments_agree(client_of, ann, settings):
    settings.JWT_STATUS_LIST = False
    client_of(ann)
    one, other = SignIn.objects.get(), SignIn.objects.get()
    assert StatusIndex.objects.assign(one)
    assert StatusIndex.objects.assign(other)
    assert one.status_index == other.status_index


def test_the_database_keeps_indexes_unique(client_of, ann):
    client_of(ann), client_of(ann)
    first, second = SignIn.objects.order_by("status_index")
    with pytest.raises(IntegrityError):
        SignIn.objects.filter(pk=second.pk).update(status_index=first.status_index)


def test_a_full_list_is_followed_by_the_next(client_of, ann, get):
    StatusIndex.objects.create(pk=2**20 + 6)
    SignIn.objects.filter(pk=claims_of(client_of(ann).access)["sid"]).update(status_index=2**20 + 7)
    client = client_of(ann)
    SignIn.objects.filter(pk=claims_of(client.access)["sid"]).update(status_index=2**20 + 8)
    client.renew()
    named = claims_of(client.access)["status"]["status_list"]
    assert named == {"idx": 8, "uri": "https://id.example.org/api/token/status/1"}
    client.post("/api/sign-ins/end-all/", {})
    second = claims_of(get("/api/token/status/1").content.decode())
    assert second["sub"] == named["uri"]
    assert [place for place, value in enumerate(statuses(second["status_list"])) if value] == [7, 8]
    assert not any(statuses(claims_of(get().content.decode())["status_list"]))


@pytest.mark.parametrize("number", ["1", "99999", "9" * 30, "-1", "x", "0/"])
def test_an_unknown_list_is_404(client_of, ann, get, number):
    client_of(ann)
    response = get(f"/api/token/status/{number}")
    assert response.status_code == 404
    assert "no-store" in response.headers["Cache-Control"] or number in "0/"


def test_there_is_no_list_unless_it_is_enabled(client_of, ann, settings, get):
    client_of(ann)
    settings.JWT_STATUS_LIST = False
    assert get().status_code == 404
    assert "status" not in claims_of(client_of(ann).access)


# Serving


def test_a_list_may_be_cached_for_seconds(client_of, ann, get):
    with time_machine.travel(1_800_000_000, tick=False):
        client_of(ann)
        response = get()
        assert response.headers["Cache-Control"] == "public, max-age=5"
        again = get(if_none_match=response.headers["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == response.headers["ETag"]


def test_all_processes_agree_on_the_etag(client_of, ann):
    client_of(ann)
    with time_machine.travel(1_800_000_000, tick=False):
        one, other = status_list.StatusList.build(0), status_list.StatusList.build(0)
    assert one.etag == other.etag


def test_a_revocation_changes_the_etag(client_of, ann, get, revoke):
    with time_machine.travel(1_800_000_000, tick=False):
        client = client_of(ann)
        before = get().headers["ETag"]
        revoke(client.access)
        assert get(if_none_match=before).status_code == 200


def test_a_list_is_renewed_before_its_ttl(client_of, ann, get):
    with time_machine.travel(1_800_000_000, tick=False) as clock:
        client_of(ann)
        before = get().headers["ETag"]
        clock.shift(5)
        assert get(if_none_match=before).status_code == 200


def test_a_list_younger_than_a_second_needs_no_statement(client_of, ann, get, monkeypatch, django_assert_num_queries):
    client_of(ann)
    monkeypatch.setattr(status_list, "REBUILD_SECONDS", 3600)
    get()
    with django_assert_num_queries(0):
        for _ in range(10):
            assert get().status_code == 200


def test_a_list_is_built_by_three_statements(client_of, ann, django_assert_num_queries):
    client_of(ann)
    with django_assert_num_queries(3):
        status_list.StatusList.build(0)


def test_a_list_for_an_earlier_time_is_501(client_of, ann, get):
    client_of(ann)
    assert get(f"{LIST}?time=1700000000").status_code == 501


def test_a_refresh_with_status_list_takes_two_statements(client_of, ann, anonymous, django_assert_num_queries):
    client = client_of(ann)
    with django_assert_num_queries(2):
        assert anonymous.post("/api/token/refresh/", {"refresh": client.refresh}).status_code == 200


@pytest.mark.once
@pytest.mark.long
@pytest.mark.named
def test_a_list_of_a_million_is_built_in_under_a_second(read):
    until = timezone.now() + timezone.timedelta(minutes=10)
    StatusIndex.objects.create(pk=2**20 - 1)
    # One in ten ended within the last minutes.
    Entry.objects.bulk_create(
        [Entry(token_id=UUID(int=index), kind="sid", until=until, status_index=index) for index in range(0, 2**20, 10)],
        batch_size=5000,
    )
    # Processor time, since other processes use the core, too.
    started = time.process_time()
    built = status_list.StatusList.build(0)
    seconds = time.process_time() - started
    assert sum(statuses(claims_of(built.token)["status_list"])) == len(range(0, 2**20, 10))
    assert seconds < 1


# Settings


@pytest.mark.parametrize("env", [{}, {"JWT_KEYS": "keys"}, {"JWT_ISSUER": "https://id.example.org"}])
def test_a_status_list_without_public_keys_does_not_start(env):
    env = os.environ | {"JWT_STATUS_LIST": "true"} | env
    started = subprocess.run(
        [sys.executable, "-c", "import project.settings"], cwd=servers.ROOT, env=env, capture_output=True, text=True
    )
    assert started.returncode
    assert "JWT_STATUS_LIST needs" in started.stderr
